"""What is run: methods x teachers x designs x folds x seeds, each with a split of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from nsgauge.data.split import SplitSettings

FOLDS = 5
SALT = "msts-folds"
GROUP = 2
"""VLLMs that are held out together."""

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

DESIGNS = ("items", "vllms")
"""`items`: a fifth of the items is unseen; `vllms`: and so is each group of VLLMs in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training, or what takes its place.

    Attributes:
        method: A key of `methods.METHODS`.
        teacher: A key of `TEACHERS`.
        design: One of `DESIGNS`.
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

    def split(self, groups: Sequence[tuple[str, ...]]) -> SplitSettings:
        """About 62 of 100 items to train on, 10 to select on, 8 to calibrate on, 20 to test on."""
        return SplitSettings(
            salt=SALT,
            validation=0.1,
            calibration=0.08,
            test=1 / FOLDS,
            fold=self.fold,
            unseen_vllms=() if self.group is None else groups[self.group],
        )


def vllm_groups(vllms: Sequence[str]) -> list[tuple[str, ...]]:
    """The VLLMs in groups, by name."""
    names = sorted(set(vllms))
    return [tuple(names[begin : begin + GROUP]) for begin in range(0, len(names), GROUP)]


def all_runs(
    *,
    methods: Sequence[str],
    teachers: Sequence[str],
    designs: Sequence[str],
    seeds: int,
    groups: int,
) -> Iterator[Run]:
    """Every run that is asked for, cheap designs first."""
    for design, seed, method, teacher in product(designs, range(seeds), methods, teachers):
        if method in WITHOUT_CHANCE and seed > 0:
            continue
        for fold, group in product(range(FOLDS), range(groups) if design == "vllms" else (None,)):
            yield Run(
                method=method, teacher=teacher, design=design, fold=fold, group=group, seed=seed
            )
