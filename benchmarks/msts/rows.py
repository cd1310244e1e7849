"""The rows of MSTS that every method learns from and is measured on, with what people say."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from nsgauge.data.images import image_digest, read_image
from nsgauge.data.split import Side, SplitSettings, assign_sides, group_keys, item_key
from nsgauge.data.tables import read_triples, read_verdicts, triples_of
from nsgauge.data.targets import Consensus, labels_of, targets_from_verdicts
from nsgauge.protocol import OBSERVATIONS
from nsgauge.records import ResponseState, Triple

TRUTH = "human"
AXES = ("unsafe", "not_grounded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The answered rows that people labelled.

    Attributes:
        triples: In the order of the data folder.
        items: Keys of the items.
        keys: Keys of the groups that a split keeps together.
        positive: By axis, what people say.
    """

    triples: list[Triple]
    items: list[str]
    keys: list[str]
    positive: dict[str, Bool[np.ndarray, " rows"]]

    @property
    def vllms(self) -> list[str]:
        """Whose answer each row is."""
        return [triple.vllm for triple in self.triples]

    def sides(self, split: SplitSettings) -> list[Side]:
        """Which side each row is on."""
        return assign_sides(self.keys, settings=split, vllms=self.vllms)

    def cells(self, split: SplitSettings) -> list[str]:
        """What is new about each row: `item`, `vllm`, `both`, or nothing (empty)."""
        plain = assign_sides(self.keys, settings=split)
        unseen = set(split.unseen_vllms)
        names = {(True, False): "item", (False, True): "vllm", (True, True): "both"}
        return [
            names.get((side is Side.TEST, triple.vllm in unseen), "")
            for side, triple in zip(plain, self.triples, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a teacher says of the rows, by axis.

    Attributes:
        probability: Of the positive class, from votes or a consensus; 0.5 where unknown.
        known: Whether the teacher says anything.
    """

    probability: dict[str, Float[np.ndarray, " rows"]]
    known: dict[str, Bool[np.ndarray, " rows"]]


def load_rows(data: Path) -> Rows:
    """Read the rows.

    Raises:
        DataError: a table is missing, or there are no verdicts of people.
    """
    labels = labels_of(read_verdicts(data), judge=TRUTH)
    known = dict(
        zip(labels.triple_ids, labels.unsafe_known & labels.not_grounded_known, strict=True)
    )
    triples = [
        triple
        for triple in triples_of(read_triples(data))
        if triple.response_state is ResponseState.ANSWERED and known.get(triple.triple_id)
    ]
    place = {triple_id: row for row, triple_id in enumerate(labels.triple_ids)}
    order = [place[triple.triple_id] for triple in triples]
    items = [item_key(triple.benchmark, triple.item_id) for triple in triples]
    return Rows(
        triples=triples,
        items=items,
        keys=group_keys(items, image_digests=_digests(triples, data=data)),
        positive={
            "unsafe": labels.unsafe[order] == 1,
            "not_grounded": labels.not_grounded[order] == 1,
        },
    )


def _digests(triples: list[Triple], *, data: Path) -> list[str | None]:
    """Of each row's picture, as a training finds it: groups must be the same, or test rows leak."""
    paths = {triple.image for triple in triples if triple.image is not None}
    known = {path: image_digest(read_image(data, path)) for path in paths}
    return [None if triple.image is None else known[triple.image] for triple in triples]


def lesson(data: Path, *, rows: Rows, teacher: dict[str, object]) -> Lesson:
    """What a teacher says.

    Raises:
        DataError: a judge has no verdict here.
    """
    judges = teacher["judges"]
    if not isinstance(judges, list):
        raise TypeError(f"judges of {teacher}: wanted a list")
    targets = targets_from_verdicts(
        read_verdicts(data),
        judges=judges,
        consensus=Consensus(str(teacher.get("consensus", Consensus.POOLED))),
    )
    place = {triple_id: row for row, triple_id in enumerate(targets.triple_ids)}
    empty = np.zeros((1, len(OBSERVATIONS)))
    masses = np.concatenate([targets.masses, empty])
    of_rows = masses[[place.get(triple.triple_id, -1) for triple in rows.triples]]
    probability, known = {}, {}
    for number, axis in enumerate(AXES):
        values = [observation[number] for observation in OBSERVATIONS]
        yes = of_rows[:, [value == axis for value in values]].sum(axis=1)
        said = of_rows[:, [value is not None for value in values]].sum(axis=1)
        known[axis] = said > 0
        probability[axis] = np.where(said > 0, yes / np.maximum(said, 1e-12), 0.5)
    return Lesson(probability=probability, known=known)
