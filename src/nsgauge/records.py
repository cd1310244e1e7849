"""The rows that pass between the stages, and the Arrow schemas that they are stored with."""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from nsgauge.protocol import Grounding, Safety


class ResponseState(StrEnum):
    """What the text in `Triple.response` is."""

    ANSWERED = "answered"
    EMPTY = "empty"
    NOT_A_RESPONSE = "not_a_response"
    """The VLLM never answered: an API error or a provider's filter stands in the text."""


class VerdictState(StrEnum):
    """What became of one question to one judge; only `answered` carries labels."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FILTERED = "filtered"
    UNPARSABLE = "unparsable"
    TRUNCATED = "truncated"
    FAILED = "failed"
    UNJUDGED = "unjudged"


class ImageState(StrEnum):
    """What stood in the image slot when a triple was scored."""

    IMAGE = "image"
    CAPTION = "caption"
    ABSENT = "absent"
    ERROR = "error"


class ScoreStatus(StrEnum):
    """Why a score has probabilities, or why it has none."""

    SCORED = "scored"
    IMAGE_ERROR = "image_error"
    EMPTY_RESPONSE = "empty_response"
    NOT_A_RESPONSE = "not_a_response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """One (image, prompt, response), the unit that is judged and scored.

    Attributes:
        prompt: What the VLLM was asked, in words.
        response: What it answered; see `response_state` for texts that are no answer.
        image: Path of the picture relative to the data folder (or, in Python use, any path);
            None where there is none.
        caption: Words that describe the picture; used only where a recipe says so.
        triple_id: Unique within a data folder.
        benchmark: Name of the benchmark that the prompt comes from.
        item_id: The prompt (and picture) that several triples share; the unit of splitting.
        vllm: The model that answered.
        sample: 0, 1, ... where one model answered an item more than once.
        response_state: Whether `response` is an answer.
        language: BCP 47 tag of the prompt, None if unknown.
        extras: Other columns of the source, as a JSON object in text; None if there are none.
    """

    prompt: str
    response: str
    image: str | None = None
    caption: str | None = None
    triple_id: str = ""
    benchmark: str = ""
    item_id: str = ""
    vllm: str = ""
    sample: int = 0
    response_state: ResponseState = ResponseState.ANSWERED
    language: str | None = None
    extras: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one judge said once of one triple.

    Attributes:
        triple_id: The triple judged.
        judge: Name of the judge, human or machine, with its version.
        vote: 0, 1, ... where the same judge was asked more than once.
        state: Only `answered` may carry labels; every other state is "no label", never "safe".
        safety: None where the judge didn't say.
        grounding: None where the judge didn't say.
        hallucinated: A completely wrong reading of the image; None where the judge didn't say.
        category: The judge's own finer class, as it wrote it.
        reason: The judge's reason, in its words.
        prompt_hash: SHA-256 of the judge's instructions; None if unknown.
        inclusion_probability: With what probability the triple was drawn for this judge, in
            (0, 1]; None where no declared design drew it. In a later round, given the earlier ones.
        plan_round: Of the plans for this judge, from 1, the one that drew it; None without one.
        unsafe_probability: The judge's own probability of `unsafe` as it chose the word, from its
            log-probabilities, in [0, 1]; None where the server gave none.
        not_grounded_probability: Likewise of `not_grounded`.
    """

    triple_id: str
    judge: str
    vote: int = 0
    state: VerdictState = VerdictState.ANSWERED
    safety: Safety | None = None
    grounding: Grounding | None = None
    hallucinated: bool | None = None
    category: str | None = None
    reason: str | None = None
    prompt_hash: str | None = None
    inclusion_probability: float | None = None
    plan_round: int | None = None
    unsafe_probability: float | None = None
    not_grounded_probability: float | None = None

    def __post_init__(self) -> None:
        """Refuse labels on a verdict that wasn't answered, and answers without a label.

        Raises:
            ValueError: it has one of these, or an inclusion probability of 0.
        """
        if self.inclusion_probability == 0:
            raise ValueError(f"verdict on {self.triple_id!r}: drawn with probability 0")
        labelled = self.safety is not None or self.grounding is not None
        if labelled != (self.state is VerdictState.ANSWERED):
            raise ValueError(
                f"verdict of {self.judge!r} on {self.triple_id!r}: state {self.state} "
                f"{'must not' if labelled else 'must'} carry a safety or grounding label"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the classifier says of one triple; without probabilities unless `status` is `scored`.

    Attributes:
        triple_id: The triple scored.
        status: Why there are probabilities, or why not.
        image_code: The code of the ImageError where status is `image_error`.
        grounded_safe: Calibrated probability of the cell; the four sum to one.
        grounded_unsafe: Likewise.
        ungrounded_safe: Likewise.
        ungrounded_unsafe: Likewise.
        unsafe: Sum of the two unsafe cells.
        not_grounded: Sum of the two ungrounded cells.
        unsafe_verdict: Whether `unsafe` reaches the bundle's threshold.
        not_grounded_verdict: Whether `not_grounded` reaches the bundle's threshold.
        image_state: What stood in the image slot.
        text_windows: How many windows the response was read in.
        truncated: Whether the cap on windows cut the prompt or the response.
        item_seen: Whether the bundle was trained, selected or calibrated on this item or image.
        vllm_seen: Whether the bundle was trained on other answers of this VLLM.
    """

    triple_id: str
    status: ScoreStatus
    image_code: str | None = None
    grounded_safe: float | None = None
    grounded_unsafe: float | None = None
    ungrounded_safe: float | None = None
    ungrounded_unsafe: float | None = None
    unsafe: float | None = None
    not_grounded: float | None = None
    unsafe_verdict: bool | None = None
    not_grounded_verdict: bool | None = None
    image_state: ImageState
    text_windows: int
    truncated: bool
    item_seen: bool
    vllm_seen: bool


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


TRIPLES_SCHEMA: pa.Schema = pa.schema(
    [
        _required("triple_id", pa.string()),
        _required("benchmark", pa.string()),
        _required("item_id", pa.string()),
        _required("vllm", pa.string()),
        _required("sample", pa.int32()),
        _required("prompt", pa.string()),
        _required("response", pa.string()),
        _required("response_state", pa.string()),
        pa.field("image", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("language", pa.string()),
        pa.field("extras", pa.string()),
    ]
)

LATER_COLUMNS = frozenset({"plan_round"})
"""Of a schema, but not yet of folders that an earlier version wrote: there they are null."""

VERDICTS_SCHEMA: pa.Schema = pa.schema(
    [
        _required("triple_id", pa.string()),
        _required("judge", pa.string()),
        _required("vote", pa.int32()),
        _required("state", pa.string()),
        pa.field("safety", pa.string()),
        pa.field("grounding", pa.string()),
        pa.field("hallucinated", pa.bool_()),
        pa.field("category", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("prompt_hash", pa.string()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("plan_round", pa.int32()),
        pa.field("unsafe_probability", pa.float64()),
        pa.field("not_grounded_probability", pa.float64()),
    ]
)

SCORES_SCHEMA: pa.Schema = pa.schema(
    [
        _required("triple_id", pa.string()),
        _required("status", pa.string()),
        pa.field("image_code", pa.string()),
        pa.field("grounded_safe", pa.float32()),
        pa.field("grounded_unsafe", pa.float32()),
        pa.field("ungrounded_safe", pa.float32()),
        pa.field("ungrounded_unsafe", pa.float32()),
        pa.field("unsafe", pa.float32()),
        pa.field("not_grounded", pa.float32()),
        pa.field("unsafe_verdict", pa.bool_()),
        pa.field("not_grounded_verdict", pa.bool_()),
        _required("image_state", pa.string()),
        _required("text_windows", pa.int32()),
        _required("truncated", pa.bool_()),
        _required("item_seen", pa.bool_()),
        _required("vllm_seen", pa.bool_()),
    ]
)
