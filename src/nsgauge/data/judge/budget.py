"""What asking costs, before it is asked and after."""

from dataclasses import dataclass
from math import ceil

from nsgauge.data.judge.recipe import JudgeRecipe, Price
from nsgauge.data.judge.reply import Reply

_TILE_PX = 512
_TOKENS_PER_TILE = 170
_TOKENS_PER_PICTURE = 85


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one call.

    Attributes:
        sent: Input tokens.
        received: Output tokens.
    """

    sent: int
    received: int

    def cost(self, price: Price | None) -> float:
        """In the price's currency; 0 without a price."""
        if price is None:
            return 0.0
        sent, received = (
            self.sent * price.input_per_million,
            self.received * price.output_per_million,
        )
        return (sent + received) / 1e6

    def plus(self, other: "Tokens") -> "Tokens":
        """Both together."""
        return Tokens(self.sent + other.sent, self.received + other.received)

    def minus(self, other: "Tokens") -> "Tokens":
        """What is left of these without the others."""
        return Tokens(self.sent - other.sent, self.received - other.received)


def text_tokens(text: str) -> int:
    """How many tokens a text has, by its letters and on the high side.

    Three ASCII characters a token is more tokens than English has; other scripts get one and a
    half tokens a character. Long numbers and rare scripts may take more.

    Example:
        >>> text_tokens("a dozen words")
        5
    """
    ascii_count = sum(character.isascii() for character in text)
    return ceil(ascii_count / 3 + 1.5 * (len(text) - ascii_count))


def picture_tokens(recipe: JudgeRecipe) -> int:
    """How many tokens a picture has at most.

    Source: OpenAI's guide "Images and vision": 85, and 170 for each tile of 512 x 512 px in high
    detail. Other servers count otherwise; `picture.tokens` says how.
    """
    picture = recipe.picture
    if picture.tokens is not None:
        return picture.tokens
    tiles = ceil(picture.longest_side_px / _TILE_PX) ** 2
    return _TOKENS_PER_PICTURE + (0 if picture.detail == "low" else _TOKENS_PER_TILE * tiles)


def billed(reply: Reply, *, estimate: Tokens) -> Tokens:
    """The tokens of an answer; as estimated where the server doesn't say."""
    return Tokens(
        estimate.sent if reply.input_tokens is None else reply.input_tokens,
        estimate.received if reply.output_tokens is None else reply.output_tokens,
    )


class Budget:
    """What a run may still spend. A call is paid for in advance at what it may cost at most.

    Args:
        recipe: Its limits and price.
    """

    def __init__(self, recipe: JudgeRecipe) -> None:
        self.calls = 0
        """Requests sent."""
        self.tokens = Tokens(0, 0)
        """Of the answers that came."""
        self._limits = recipe.limits
        self._price = recipe.price
        # Whole numbers, so that nothing is left of it when every call has come back.
        self._held = Tokens(0, 0)

    @property
    def cost(self) -> float:
        """Of the answers that came, in the price's currency."""
        return self.tokens.cost(self._price)

    def exhausted(self, estimate: Tokens) -> str | None:
        """The limit that forbids a further call, by the setting's name; None where none does."""
        most_calls, most_cost = self._limits.max_calls, self._limits.max_cost
        if most_calls is not None and self.calls >= most_calls:
            return "max_calls"
        total = self.tokens.plus(self._held).plus(estimate)
        if most_cost is not None and total.cost(self._price) > most_cost:
            return "max_cost"
        return None

    @property
    def may_recover(self) -> bool:
        """Whether calls under way may turn out cheaper than what is held for them."""
        return self._held != Tokens(0, 0)

    def hold(self, estimate: Tokens) -> None:
        """A request goes out."""
        self.calls += 1
        self._held = self._held.plus(estimate)

    def release(self, estimate: Tokens, *, spent: Tokens | None) -> None:
        """It came back; `spent` is None where nothing was had for it."""
        self._held = self._held.minus(estimate)
        if spent is not None:
            self.tokens = self.tokens.plus(spent)
