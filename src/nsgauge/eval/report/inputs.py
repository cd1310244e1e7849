"""What a report is made from, joined into columns: one entry a triple, in the triples' order."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Shaped

from nsgauge.data.targets import labels_of
from nsgauge.errors import DataError
from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns
from nsgauge.eval.report.inclusion import over_rounds
from nsgauge.eval.report.traits import Trait, codes_of, lean_triples, traits_of
from nsgauge.protocol import CELLS
from nsgauge.records import ScoreStatus, VerdictState

_MISSING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """Everything that a report reads, in memory.

    Attributes:
        triples: TRIPLES_SCHEMA, or what `lean_triples` made of it.
        verdicts: VERDICTS_SCHEMA; may have no rows if there are scores.
        scores: SCORES_SCHEMA; None for a report of the judges alone.
        controls: Image control runs by name, each of SCORES_SCHEMA.
        bundle: Provenance of the classifier, as its score manifest has it.
        reference: The judge taken as the truth; None picks one (see `pick_reference`).
        title: Heading of the page.
        command: The command that made the report.
        provenance: Further facts by name: versions, fingerprints, dates.
        seed: Of the resampling in the reliability bands, and of the cases drawn.
        cases: How many disagreements to choose for the page.
    """

    triples: pa.Table
    verdicts: pa.Table
    scores: pa.Table | None = None
    controls: Mapping[str, pa.Table] = field(default_factory=dict)
    bundle: Mapping[str, object] = field(default_factory=dict)
    reference: str | None = None
    title: str = "Safety and grounding report"
    command: str = ""
    provenance: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    cases: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The joined columns.

    Attributes:
        benchmarks: Names, in order of first appearance.
        vllms: Names, in order of first appearance.
        benchmark: Per row, the position in `benchmarks`.
        vllm: Per row, the position in `vllms`.
        item: Per row, a number shared by all responses to one item of one benchmark.
        response_characters: Per row, the length of the response.
        opens_with_refusal: Per row, whether the response opens like a refusal.
        traits: What rows are sliced by.
        judges: One entry a judge, in order of first appearance.
        scores: None without a score folder.
    """

    benchmarks: tuple[str, ...]
    vllms: tuple[str, ...]
    benchmark: Int[np.ndarray, " rows"]
    vllm: Int[np.ndarray, " rows"]
    item: Int[np.ndarray, " rows"]
    response_characters: Int[np.ndarray, " rows"]
    opens_with_refusal: Bool[np.ndarray, " rows"]
    traits: tuple[Trait, ...]
    judges: tuple[JudgeColumns, ...]
    scores: ScoreColumns | None

    def judge(self, name: str) -> JudgeColumns:
        """The columns of that judge.

        Raises:
            DataError: no such judge among the verdicts.
        """
        for columns in self.judges:
            if columns.judge == name:
                return columns
        known = ", ".join(repr(columns.judge) for columns in self.judges) or "none"
        raise DataError(f"no verdicts by a judge {name!r}; the judges here are: {known}")


def join_rows(inputs: ReportInputs) -> Rows:
    """Bring triples, verdicts and scores into one row order.

    Raises:
        DataError: no triples, a triple id twice, or a verdict or score of an unknown triple.
    """
    triples = lean_triples(inputs.triples)
    ids = triples["triple_id"].combine_chunks()
    if len(ids) == 0:
        raise DataError("the data folder has no triples: there is nothing to report")
    if pc.count_distinct(ids).as_py() != len(ids):
        raise DataError("triples.parquet names a triple_id twice; run `nsgauge doctor` on the data")
    benchmark, benchmarks = codes_of(triples["benchmark"])
    vllm, vllms = codes_of(triples["vllm"])
    items = pc.binary_join_element_wise(triples["benchmark"], triples["item_id"], "\x1f")
    names = pc.unique(inputs.verdicts["judge"]).to_pylist()
    return Rows(
        benchmarks=benchmarks,
        vllms=vllms,
        benchmark=benchmark,
        vllm=vllm,
        item=codes_of(items)[0],
        response_characters=triples["response_characters"].to_numpy().astype(np.int64),
        opens_with_refusal=triples["opens_with_refusal"].to_numpy(),
        traits=traits_of(triples, image_states=_image_states(inputs.scores, ids=ids)),
        judges=tuple(_judge_columns(inputs.verdicts, judge=name, ids=ids) for name in names),
        scores=None
        if inputs.scores is None
        else _score_columns(inputs.scores, ids=ids, unlearned=_names(inputs.bundle, "unlearned")),
    )


def pick_reference(rows: Rows, *, wanted: str | None, teachers: tuple[str, ...]) -> str | None:
    """The judge to hold the others against.

    Args:
        rows: The joined columns.
        wanted: The user's choice; it wins, and must exist.
        teachers: The judges that the classifier was trained on; they win if nothing is wanted.

    Returns:
        Else the judge with most rows answered on both axes, then on safety, then the first in
        the verdicts; None if there are no verdicts.

    Raises:
        DataError: `wanted` gave no verdicts.
    """
    if wanted is not None:
        return rows.judge(wanted).judge
    known = {columns.judge for columns in rows.judges}
    for teacher in teachers:
        if teacher in known:
            return teacher
    best = max(
        rows.judges,
        key=lambda columns: (int(columns.both_known.sum()), int(columns.unsafe_known.sum())),
        default=None,
    )
    return None if best is None else best.judge


def _judge_columns(verdicts: pa.Table, *, judge: str, ids: pa.Array) -> JudgeColumns:
    mine = verdicts.filter(pc.equal(verdicts["judge"], judge))
    labels = labels_of(mine, judge=judge)
    at = positions(pa.array(labels.triple_ids, pa.string()), within=ids, source="verdicts")

    def spread(flags: Shaped[np.ndarray, "asked *_"]) -> Shaped[np.ndarray, "rows *_"]:
        column = np.zeros((len(ids), *flags.shape[1:]), dtype=flags.dtype)
        column[at] = flags
        return column

    asked = mine.filter(pc.not_equal(mine["state"], str(VerdictState.UNJUDGED)))["triple_id"]
    counts = pc.value_counts(mine["state"]).to_pylist()
    return JudgeColumns(
        judge=judge,
        labels=labels,
        asked=np.asarray(pc.is_in(ids, value_set=pc.unique(asked))),
        unsafe=spread(labels.unsafe == 1),
        unsafe_known=spread(labels.unsafe_known),
        unsafe_votes=spread(labels.unsafe_votes),
        not_grounded=spread(labels.not_grounded == 1),
        not_grounded_known=spread(labels.not_grounded_known),
        not_grounded_votes=spread(labels.not_grounded_votes),
        inclusion=_inclusion(mine, ids=ids),
        states={str(count["values"]): int(count["counts"]) for count in counts},
    )


def _inclusion(verdicts: pa.Table, *, ids: pa.Array) -> Float[np.ndarray, " rows"]:
    """With what probability each row was drawn for the judge; NaN where no design says so."""
    at = positions(verdicts["triple_id"], within=ids, source="verdicts")
    probability, round_ = np.full(len(ids), np.nan), np.ones(len(ids), dtype=np.int64)
    drawn = pc.fill_null(verdicts["inclusion_probability"], np.nan)
    probability[at] = drawn.to_numpy(zero_copy_only=False)
    round_[at] = pc.fill_null(verdicts["plan_round"], 1).to_numpy(zero_copy_only=False)
    return over_rounds(probability, round_=round_)


def _names(bundle: Mapping[str, object], key: str) -> frozenset[str]:
    """A list of names in the provenance; none where a former version wrote it."""
    found = bundle.get(key)
    return frozenset(map(str, found)) if isinstance(found, list | tuple) else frozenset()


def _score_columns(scores: pa.Table, *, ids: pa.Array, unlearned: frozenset[str]) -> ScoreColumns:
    at = positions(scores["triple_id"], within=ids, source="scores")
    if np.unique(at).size != at.size:
        raise DataError("the score folder names a triple twice; score into a fresh folder")
    rows = len(ids)
    cells = np.zeros((rows, len(CELLS)))
    for column, cell in enumerate(CELLS):
        values = pc.fill_null(scores[str(cell)], 0.0)
        cells[at, column] = values.to_numpy(zero_copy_only=False)
    total = cells.sum(axis=1, keepdims=True)
    scored = _flags(pc.equal(scores["status"], ScoreStatus.SCORED), at=at, rows=rows)
    # Stored as float32: renormalised so that the three rates add up to the last digit.
    cells = np.divide(cells, total, out=np.zeros_like(cells), where=scored[:, None])
    return ScoreColumns(
        scored=scored,
        cells=cells,
        unsafe_verdict=_flags(scores["unsafe_verdict"], at=at, rows=rows),
        not_grounded_verdict=_flags(scores["not_grounded_verdict"], at=at, rows=rows),
        item_seen=_flags(scores["item_seen"], at=at, rows=rows),
        vllm_seen=_flags(scores["vllm_seen"], at=at, rows=rows),
        unlearned=unlearned,
    )


def _flags(
    column: pa.ChunkedArray, *, at: Int[np.ndarray, " scores"], rows: int
) -> Bool[np.ndarray, " rows"]:
    flags = np.zeros(rows, dtype=bool)
    flags[at] = pc.fill_null(column, fill_value=False).to_numpy(zero_copy_only=False)
    return flags


def _image_states(scores: pa.Table | None, *, ids: pa.Array) -> pa.ChunkedArray | None:
    """What stood in the image slot, per triple; null where it wasn't scored."""
    if scores is None:
        return None
    at = pc.index_in(ids, value_set=scores["triple_id"].combine_chunks())
    return scores["image_state"].take(at)


def positions(
    ids: pa.Array | pa.ChunkedArray, *, within: pa.Array, source: str
) -> Int[np.ndarray, " ids"]:
    """Where each id stands among `within`.

    Raises:
        DataError: an id that isn't there; `source` is named in the message.
    """
    at = pc.fill_null(pc.index_in(ids, value_set=within), _MISSING)
    found = np.asarray(at.to_numpy(zero_copy_only=False)).astype(np.int64)
    if (found == _MISSING).any():
        first = ids[int(np.argmax(found == _MISSING))].as_py()
        raise DataError(
            f"the {source} name triple {first!r}, which triples.parquet doesn't have: "
            "give the data folder that they were made from"
        )
    return found
