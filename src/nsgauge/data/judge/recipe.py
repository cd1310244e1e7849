"""A judge's recipe: which model is asked what, how often, and for how much at most."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from nsgauge.settings import Settings, Shelf

JUDGE_RECIPES = Shelf("judge recipe", package="nsgauge.data.judge", folder="recipes")
"""The shipped ones; `JUDGE_RECIPES.load(name, settings=JudgeRecipe)`."""

DEFAULT_PROMPT = "two-questions"


class Endpoint(Settings):
    """Where the judge is reached."""

    base_url: str | None = None
    """Of an OpenAI-compatible server, up to `/v1`; None for OpenAI's own."""
    api_key_variable: str = "OPENAI_API_KEY"
    """Environment variable with the key; a server of one's own may do without."""
    timeout_seconds: float = Field(120.0, gt=0)
    """For a whole answer, from the first byte sent to the last one read."""
    idempotency_header: str | None = None
    """Name of the header by which a gateway knows a repeated request and doesn't bill it again;
    with one, not even an answer that was on its way when a run was killed is paid twice."""


class Sampling(Settings):
    """How the answers are drawn."""

    temperature: float | None = Field(0.0, ge=0, le=2)
    """None leaves it to the server; some models refuse any."""
    max_tokens: int = Field(400, ge=16)
    """Of one answer; an answer that is cut short is `truncated`, never a label."""
    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105
    """What the server calls that limit."""
    seed: int | None = None
    """Of the first vote, where the server takes one; each further vote adds one."""
    structured: Literal["auto", "json_schema", "text"] = "auto"
    """Whether the server is asked to keep to the schema; `auto` asks until it refuses to."""
    logprobs: bool = False
    """Ask for log-probabilities with the answers that are bought from now on, and keep the
    probability of `unsafe` and `not_grounded`."""
    extra_body: Mapping[str, Any] = {}
    """Further fields of the request, as the server wants them."""


class Picture(Settings):
    """What the judge sees of the picture."""

    show: Literal["image", "caption", "image_or_caption", "none"] = "image"
    """A caption is the triple's description of the picture; triples without what is to be shown
    aren't asked about."""
    longest_side_px: int = Field(1024, ge=64, le=4096)
    """A larger picture is scaled down to it."""
    detail: Literal["auto", "low", "high"] = "auto"
    """As OpenAI-compatible servers have it."""
    tokens: int | None = Field(None, ge=0)
    """Tokens that a picture costs, for the estimate; None takes OpenAI's rule of 512 px tiles."""


class Price(Settings):
    """What the server charges."""

    input_per_million: float = Field(ge=0)
    """For a million tokens sent."""
    output_per_million: float = Field(ge=0)
    """For a million tokens received."""
    currency: str = "USD"


class Limits(Settings):
    """Where a run stops by itself."""

    max_calls: int | None = Field(None, ge=1)
    """Requests of one run, retries counted."""
    max_cost: float | None = Field(None, gt=0)
    """Of one run, in the price's currency; never exceeded as long as no answer takes more tokens
    than were estimated for it. A call that timed out counts as its estimate."""
    concurrency: int = Field(16, ge=1, le=512)
    """Requests at a time, at most; the run finds out how many the server takes."""
    retries: int = Field(6, ge=0, le=20)
    """Of one question after 429, 5xx, a time-out or a broken connection."""
    failures_in_a_row: int = Field(20, ge=1)
    """Questions given up one after the other that end the run: the endpoint is down."""
    longest_text: int = Field(60_000, ge=100)
    """Characters of a prompt or response; triples with a longer one aren't asked about."""


class JudgeRecipe(Settings):
    """One judge."""

    model: str = Field(min_length=1)
    """As the server knows it."""
    judge: str = ""
    """The name on its verdicts; by default the model's, with the prompt's if it isn't the
    protocol's own."""
    prompt: str = DEFAULT_PROMPT
    """A shipped prompt, or the path of a YAML file."""
    votes: int = Field(1, ge=1, le=100)
    """How often each triple is asked about."""
    endpoint: Endpoint = Endpoint()
    sampling: Sampling = Sampling()
    picture: Picture = Picture()
    price: Price | None = None
    """None where asking is free, or nobody wants to know."""
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _priced(self) -> "JudgeRecipe":
        if self.limits.max_cost is not None and self.price is None:
            raise ValueError("limits.max_cost needs price.input_per_million and output_per_million")
        return self

    @property
    def judge_name(self) -> str:
        """The name on its verdicts."""
        own = self.prompt == DEFAULT_PROMPT
        return self.judge or (self.model if own else f"{self.model} ({Path(self.prompt).stem})")

    @property
    def answering(self) -> dict[str, Any]:
        """What an answer depends on beside the question: verdicts under one name share it."""
        return {
            "model": self.model,
            "temperature": self.sampling.temperature,
            "extra_body": dict(self.sampling.extra_body),
            "picture": [self.picture.show, self.picture.longest_side_px, self.picture.detail],
        }
