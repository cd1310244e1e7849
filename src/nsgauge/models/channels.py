"""The channels beside a member, which are fitted by themselves and decide with it."""

from pydantic import model_validator

from nsgauge.models.language import LanguageSettings
from nsgauge.models.lexical import LexicalSettings
from nsgauge.models.probe import ProbeSettings
from nsgauge.settings import Settings


class ChannelSettings(Settings):
    """Which channels there are; null for none.

    `lexical` is for the words of the response, `probe` for what the frozen towers made of the row,
    `language` for what a small language model makes of it. Each has its share of the decision; the
    fusion has the rest.
    """

    lexical: LexicalSettings | None = None
    probe: ProbeSettings | None = None
    language: LanguageSettings | None = None

    @model_validator(mode="after")
    def _the_fusion_keeps_a_share(self) -> "ChannelSettings":
        channels = (self.lexical, self.probe, self.language)
        taken = sum(channel.share for channel in channels if channel is not None)
        if taken >= 1:
            raise ValueError(f"the channels' shares sum to {taken:g}, which leaves the fusion none")
        return self

    @property
    def language_preset(self) -> str | None:
        """Whose text tower is the language model; None without one."""
        return None if self.language is None else self.language.preset

    @property
    def wanted(self) -> bool:
        """Whether there is any."""
        return self != ChannelSettings()
