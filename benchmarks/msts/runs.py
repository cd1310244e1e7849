"""What is run: methods x teachers x designs x folds x seeds, each with a split of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from nsgauge.data.split import SplitSettings

FOLDS = 5
SALT = "msts-folds"

WITHOUT_CHANCE = frozenset({"words"})
"""Methods that draw nothing: one seed is all."""

TEACHERS: dict[str, dict[str, object]] = {
    "human": {"judges": ["human"]},
    "gpt-4o": {"judges": ["gpt-4o-2024-05-13"]},
    "consensus": {
        "judges": [
            *("gpt-4o-2024-05-13", "gemini-1.5-pro", "claude-3-5-sonnet-20240620"),
            *("Qwen2-VL-72B-Instruct", "Llama-3.2-90B-Vision-Instruct"),
            *("Llama-Guard-3-11B-Vision", "omni-moderation-latest"),
        ],
        "consensus": "dawid_skene",
    },
}
"""By name, the `teacher` of a recipe. All but `human` speak of safety alone."""

THRESHOLDS = {"human": "f1", "gpt-4o": "agreement", "consensus": "f1"}
"""What thresholds are chosen for: a judge that is to be replaced is to be agreed with."""

DESIGNS = {"items": 0, "vllm": 1, "vllms": 2}
"""How many VLLMs are held out together, each in turn, with the fifth of the items that is unseen.

Of the ten, two neighbours by name hold half of all that is unsafe or a misreading: `vllms` asks
what can be learned without such a pair, `vllm` what can be said of one more VLLM.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training, or what takes its place.

    Attributes:
        method: A key of `methods.METHODS`.
        teacher: A key of `TEACHERS`.
        design: A key of `DESIGNS`.
        fold: Of the items, from 0.
        group: Of the VLLMs, from 0; None where all are known.
        seed: Of whatever the method draws.
    """

    method: str
    teacher: str
    design: str
    fold: int
    group: int | None
    seed: int

    @property
    def name(self) -> str:
        """Of the run's file."""
        group = "all" if self.group is None else f"without{self.group}"
        return f"{self.method}-{self.teacher}-{self.design}-{self.fold}-{group}-{self.seed}"

    def split(self, vllms: Sequence[str]) -> SplitSettings:
        """About 62 of 100 items to train on, 10 to select on, 8 to calibrate on, 20 to test on.

        Args:
            vllms: Every row's.
        """
        groups = vllm_groups(vllms, together=DESIGNS[self.design])
        return SplitSettings(
            salt=SALT,
            validation=0.1,
            calibration=0.08,
            test=1 / FOLDS,
            fold=self.fold,
            unseen_vllms=() if self.group is None else groups[self.group],
        )


def vllm_groups(vllms: Sequence[str], *, together: int) -> list[tuple[str, ...]]:
    """The VLLMs by name in groups of so many; none where none are held out."""
    if not together:
        return []
    names = sorted(set(vllms))
    return [tuple(names[begin : begin + together]) for begin in range(0, len(names), together)]


def all_runs(
    *,
    methods: Sequence[str],
    teachers: Sequence[str],
    designs: Sequence[str],
    seeds: int,
    vllms: Sequence[str],
) -> Iterator[Run]:
    """Every run that is asked for, cheap designs first."""
    for design, seed, method, teacher in product(designs, range(seeds), methods, teachers):
        if method in WITHOUT_CHANCE and seed > 0:
            continue
        held_out = range(len(vllm_groups(vllms, together=DESIGNS[design]))) or (None,)
        for fold, group in product(range(FOLDS), held_out):
            yield Run(
                method=method, teacher=teacher, design=design, fold=fold, group=group, seed=seed
            )
