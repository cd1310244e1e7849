"""The examination of a data folder: facts first, then what they mean."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.data.doctor.contents import Diagnosis, Severity
from nsgauge.data.doctor.copies import copies_in
from nsgauge.data.doctor.findings import findings_of
from nsgauge.data.doctor.judges import judge_facts
from nsgauge.data.doctor.texts import TextReader, quantiles, text_lengths
from nsgauge.data.images import image_path
from nsgauge.data.tables import read_triples, read_verdicts
from nsgauge.data.votes import judge_counts
from nsgauge.errors import ImageError
from nsgauge.protocol import Grounding, Safety, cell_of
from nsgauge.records import ResponseState, VerdictState


def examine(data: Path, *, reader: TextReader | None = None) -> Diagnosis:
    """Read a data folder and say what is in it.

    Args:
        data: The data folder.
        reader: The text tower to measure the texts for; None leaves that out.

    Raises:
        DataError: the tables can't be read at all.
    """
    triples, verdicts = read_triples(data), read_verdicts(data)
    answered = triples.filter(pc.equal(triples["response_state"], str(ResponseState.ANSWERED)))
    responses = answered["response"]
    diagnosis = Diagnosis(
        triples=triples.num_rows,
        items=triples.group_by(["benchmark", "item_id"]).aggregate([]).num_rows,
        vllms=_counts(triples["vllm"]),
        benchmarks=_counts(triples["benchmark"]),
        verdicts={judge: _said(verdicts, judge=judge) for judge in judge_counts(verdicts)},
        judges=judge_facts(verdicts),
        images=_image_states(triples["image"], data=data),
        response_states=_counts(triples["response_state"]),
        response_words=_words(responses),
        texts=None if reader is None else text_lengths(answered, reader=reader),
        duplicate_responses=1 - _share(pc.count_distinct(responses).as_py(), of=len(responses)),
        copies=copies_in(triples, data=data),
        findings=[],
    )
    found = findings_of(diagnosis, judged_of_vllms=_judged_of_vllms(triples, verdicts))
    order = list(Severity)
    diagnosis.findings.extend(sorted(found, key=lambda finding: order.index(finding.severity)))
    return diagnosis


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(column).to_pylist()
    return dict(sorted((count["values"], count["counts"]) for count in counts))


def _share(part: int, *, of: int) -> float:
    """`part` of `of`; all of it where there is nothing, so that nothing stands out."""
    return part / of if of else 1.0


def _said(verdicts: pa.Table, *, judge: str) -> dict[str, int]:
    """By what was said, or by why nothing was, how many of the judge's verdicts."""
    rows = verdicts.filter(pc.equal(verdicts["judge"], judge))
    keys = ["state", "safety", "grounding"]
    counts: Counter[str] = Counter()
    for group in rows.group_by(keys).aggregate([([], "count_all")]).to_pylist():
        counts[_saying(*(group[key] for key in keys))] += group["count_all"]
    return dict(sorted(counts.items()))


def _saying(state: str, safety: str | None, grounding: str | None) -> str:
    if safety and grounding:
        return str(cell_of(Safety(safety), grounding=Grounding(grounding)))
    return safety or grounding or state


def _image_states(column: pa.ChunkedArray, *, data: Path) -> dict[str, int]:
    counts = {"present": 0, "absent": 0, "missing": 0}
    for name, count in _counts(pc.fill_null(column, "")).items():
        counts[_image_state(name, data=data)] += count
    return counts


def _image_state(name: str, *, data: Path) -> str:
    if not name:
        return "absent"
    try:
        return "present" if image_path(data, name).is_file() else "missing"
    except ImageError:
        return "missing"


def _words(responses: pa.ChunkedArray) -> dict[float, int]:
    words = [len(text.split()) for text in responses.to_pylist()]
    return quantiles(np.array(words, dtype=np.int64))


def _judged_of_vllms(triples: pa.Table, verdicts: pa.Table) -> dict[str, dict[str, int]]:
    """By judge and VLLM, how many triples the judge has answered on."""
    answered = verdicts.filter(pc.equal(verdicts["state"], str(VerdictState.ANSWERED)))
    judged = answered.select(["triple_id", "judge"]).group_by(["triple_id", "judge"]).aggregate([])
    joined = judged.join(triples.select(["triple_id", "vllm"]), "triple_id", join_type="inner")
    counts = joined.group_by(["judge", "vllm"]).aggregate([([], "count_all")]).to_pylist()
    judged_of = {(row["judge"], row["vllm"]): row["count_all"] for row in counts}
    vllms = _counts(triples["vllm"])
    return {
        judge: {name: judged_of.get((judge, name), 0) for name in vllms}
        for judge in judge_counts(verdicts)
    }
