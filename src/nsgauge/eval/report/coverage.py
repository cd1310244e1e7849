"""What could be scored and what not, and where everything comes from."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.eval.report.inputs import ReportInputs, Rows
from nsgauge.records import ImageState, ResponseState, ScoreStatus

_LIBRARIES = ("nsgauge", "numpy", "pyarrow", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which rows a report could use.

    Attributes:
        triples: Rows of the data folder.
        response_states: Triples by what their response text is.
        scored: Rows with probabilities; None without a score folder, as all that follows.
        not_in_scores: Triples that the score folder doesn't name.
        statuses: Rows of the score folder by status.
        image_codes: Rows with an image error by its code.
        image_states: Scored rows by what stood in the image slot.
        truncated: Scored rows whose text was cut by the cap on windows.
        seen: Scored rows whose item the classifier was fitted on.
    """

    triples: int
    response_states: dict[str, int]
    scored: int | None
    not_in_scores: int | None
    statuses: dict[str, int]
    image_codes: dict[str, int]
    image_states: dict[str, int]
    truncated: int | None
    seen: int | None

    @property
    def unscored(self) -> int:
        """Rows without probabilities, for whatever reason."""
        return 0 if self.scored is None else self.triples - self.scored

    @property
    def pictured(self) -> int:
        """Scored rows with a real picture."""
        return self.image_states.get(ImageState.IMAGE, 0)

    @property
    def not_a_response(self) -> int:
        """Triples in which the VLLM never answered."""
        return self.response_states.get(ResponseState.NOT_A_RESPONSE, 0)


def coverage_of(inputs: ReportInputs, *, rows: Rows) -> Coverage:
    """Count every row by what became of it."""
    triples = inputs.triples.num_rows
    response_states = _counts(inputs.triples["response_state"])
    table = inputs.scores
    if table is None or rows.scores is None:
        return Coverage(
            triples=triples,
            response_states=response_states,
            scored=None,
            not_in_scores=None,
            statuses={},
            image_codes={},
            image_states={},
            truncated=None,
            seen=None,
        )
    scored = table.filter(pc.equal(table["status"], ScoreStatus.SCORED))
    return Coverage(
        triples=triples,
        response_states=response_states,
        scored=scored.num_rows,
        not_in_scores=triples - table.num_rows,
        statuses=_counts(table["status"]),
        image_codes=_counts(table["image_code"].drop_null()),
        image_states=_counts(scored["image_state"]),
        truncated=pc.sum(scored["truncated"]).as_py() or 0,
        seen=pc.sum(scored["item_seen"]).as_py() or 0,
    )


def provenance_of(inputs: ReportInputs) -> dict[str, object]:
    """Everything that is known about where the numbers come from, by name."""
    versions: Mapping[str, str] = {name: version(name) for name in _LIBRARIES}
    return {
        "command": inputs.command,
        "seed": inputs.seed,
        **dict(inputs.provenance),
        "bundle": dict(inputs.bundle),
        "versions": {"python": platform.python_version(), **versions},
    }


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Rows by value, largest first."""
    pairs = [
        (str(entry["values"]), int(entry["counts"]))
        for entry in pc.value_counts(column).to_pylist()
    ]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
