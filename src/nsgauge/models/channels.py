"""The channels beside a member, which are fitted by themselves and decide with it."""

from collections.abc import Sequence

from pydantic import model_validator

from nsgauge.models.language import LanguageSettings
from nsgauge.models.lexical import LexicalSettings
from nsgauge.models.probe import ProbeSettings
from nsgauge.settings import Settings


class ChannelSettings(Settings):
    """Which channels there are; null for none.

    `lexical` is for the words of the response, `probe` for what the frozen towers made of the row,
    `language` for what a small language model makes of it. Each has its share of the decision; the
    fusion has the rest. With `fit_shares` a training chooses the shares, by the log-loss on rows
    that the channels haven't learned from, and those given only stand where such rows are few.
    """

    lexical: LexicalSettings | None = None
    probe: ProbeSettings | None = None
    language: LanguageSettings | None = None
    fit_shares: bool = False

    @model_validator(mode="after")
    def _the_fusion_keeps_a_share(self) -> "ChannelSettings":
        if self.shares[0] <= 0:
            taken = 1 - self.shares[0]
            raise ValueError(f"the channels' shares sum to {taken:g}, which leaves the fusion none")
        if self.fit_shares and not self.wanted:
            raise ValueError("fit_shares is for channels, and there are none")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """The fusion's, then of each channel that there is, in the order above."""
        given = [getattr(self, name).share for name in self._there]
        return (1.0 - sum(given), *given)

    def having(self, shares: Sequence[float]) -> "ChannelSettings":
        """The same channels with other shares, ordered as `shares`."""
        changed = {
            name: getattr(self, name).model_copy(update={"share": share})
            for name, share in zip(self._there, shares[1:], strict=True)
        }
        return self.model_copy(update=changed)

    @property
    def wants_likelihoods(self) -> bool:
        """Whether the language model says how likely its text is."""
        return self.language is not None and self.language.likelihoods

    @property
    def wanted(self) -> bool:
        """Whether there is any."""
        return bool(self._there)

    @property
    def _there(self) -> tuple[str, ...]:
        """Names of the channels that there are."""
        names = ("lexical", "probe", "language")
        return tuple(name for name in names if getattr(self, name) is not None)
