"""Settings of a scoring run."""

from typing import Literal

from pydantic import Field

from nsgauge.settings import Settings


class ScoringSettings(Settings):
    """How a run is cut up, and how much of it is scored again as a control.

    `controls_rows` caps the rows of the control runs, 0 leaves them out; the rows are drawn by
    `seed`. `tokens_per_batch` bounds the memory of one forward; None is what suits the device.
    `precision` is the towers'; `auto` is bf16 on CUDA, else fp32; `int8` is for a bundle
    that was made so (`quantised`).
    """

    rows_per_shard: int = Field(8192, ge=1)
    tokens_per_batch: int | None = Field(None, ge=1)
    controls_rows: int = Field(2000, ge=0)
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    seed: int = Field(0, ge=0)
