"""Settings of a scoring run."""

import os
from pathlib import Path

from pydantic import Field

from nsgauge.settings import Settings


class ScoringSettings(Settings):
    """How a run is cut up, and how much of it is scored again as a control.

    `controls_rows` caps the rows of the control runs, 0 leaves them out; the rows are drawn by
    `seed`. `tokens_per_batch` bounds the memory of one forward.
    """

    rows_per_shard: int = Field(8192, ge=1)
    tokens_per_batch: int = Field(8192, ge=1)
    controls_rows: int = Field(2000, ge=0)
    seed: int = Field(0, ge=0)


def default_cache() -> Path:
    """Where image vectors are kept between runs: `$XDG_CACHE_HOME/nsgauge`, else `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nsgauge" / "image-vectors"
