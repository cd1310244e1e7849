"""Settings of a scoring run."""

from typing import Literal

from pydantic import Field

from nsgauge.settings import Settings

Precision = Literal["auto", "fp32", "bf16", "int8"]
"""Of the towers; `auto` is bf16 on CUDA, else fp32, and `int8` what `quantised` makes on a CPU."""


class ScoringSettings(Settings):
    """How a run is cut up, and how much of it is scored again as a control.

    `controls_rows` caps the rows of the control runs, 0 leaves them out; the rows are drawn by
    `seed`. `tokens_per_batch` bounds the memory of one forward; None is what suits the device.
    `precision` is the towers'; `int8` is for a bundle that was made so (`quantised`). `compiled`
    has torch compile them on CUDA, where they must be in bf16: a minute, once, that long runs earn
    back.
    """

    rows_per_shard: int = Field(8192, ge=1)
    tokens_per_batch: int | None = Field(None, ge=1)
    controls_rows: int = Field(2000, ge=0)
    precision: Precision = "auto"
    compiled: bool = False
    seed: int = Field(0, ge=0)
