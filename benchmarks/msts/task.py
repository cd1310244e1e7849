"""What a method of the experiment is given, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.msts.rows import Lesson, Rows
from nsgauge.data.split import Side, SplitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a method says of the test side; on an axis that its teacher is silent on, nothing.

    Attributes:
        probability: By axis, of the positive class; of other rows than the test side's, anything.
        verdict: By axis, whether it reaches the threshold chosen on rows held out.
    """

    probability: dict[str, Float[np.ndarray, " rows"]]
    verdict: dict[str, Bool[np.ndarray, " rows"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to learn.

    Attributes:
        rows: All rows.
        lesson: What the teacher says of them.
        sides: Which of them may be learned from.
        split: That made the sides.
        teacher: Its name.
        seed: Of whatever is drawn.
        data: The data folder.
        scratch: An empty folder, which is deleted afterwards.
        cache: A folder that all runs share, for what frozen towers read.
    """

    rows: Rows
    lesson: Lesson
    sides: list[Side]
    split: SplitSettings
    teacher: str
    seed: int
    data: Path
    scratch: Path
    cache: Path

    def on(self, *sides: Side, axis: str) -> Bool[np.ndarray, " rows"]:
        """Rows on these sides that the teacher speaks of."""
        here = np.array([side in sides for side in self.sides])
        return np.asarray(here & self.lesson.known[axis])


Method = Callable[[Task], Opinion]
