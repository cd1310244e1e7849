"""The rows that a run is measured on: answers to unseen drawings and to unseen things."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.pictures.world import BENCHMARK, DRAWINGS, THINGS, TRUTH
from nsgauge.data.tables import read_triples, read_verdicts, triples_of
from nsgauge.data.targets import labels_of
from nsgauge.records import Triple

AXES = ("unsafe", "not_grounded")
CELLS = {DRAWINGS: "unseen drawings", THINGS: "unseen things"}
"""By data folder, what is new about the rows that are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The answers of a data folder, with the rule's labels; captioned rows are left out.

    Attributes:
        triples: The rows.
        positive: By axis, what the rule says.
    """

    triples: list[Triple]
    positive: dict[str, Bool[np.ndarray, " rows"]]

    @property
    def texts(self) -> list[str]:
        """All the words of each row."""
        return [f"{triple.prompt} {triple.response}" for triple in self.triples]


def load_rows(data: Path) -> Rows:
    """The rows of a data folder."""
    kept = [t for t in triples_of(read_triples(data)) if t.benchmark == BENCHMARK]
    labels = labels_of(read_verdicts(data), judge=TRUTH)
    place = {triple_id: row for row, triple_id in enumerate(labels.triple_ids)}
    order = [place[triple.triple_id] for triple in kept]
    return Rows(
        triples=kept,
        positive={
            "unsafe": labels.unsafe[order] == 1,
            "not_grounded": labels.not_grounded[order] == 1,
        },
    )


def measured(
    rows: Rows, *, told: dict[str, Float[np.ndarray, " rows"]]
) -> dict[str, float | int | str]:
    """Each axis that is told, against the rule; only the order of what is told counts."""
    found: dict[str, float | int | str] = {"rows": len(rows.triples)}
    for axis, values in told.items():
        positive = rows.positive[axis]
        found |= {
            f"{axis}_positives": int(positive.sum()),
            f"{axis}_auroc": float(roc_auc_score(positive, values)),
            f"{axis}_auprc": float(average_precision_score(positive, values)),
        }
    return found
