r"""The three rates of MSTS with 300 human labels, by every road there is, drawn 1,000 times.

    nsgauge import msts SOURCE --out runs/msts
    python -m benchmarks.msts --data runs/msts --work runs/msts-experiment --methods words mpnet \
        --teachers human gpt-4o --out benchmarks/results
    python -m benchmarks.msts_rates --data runs/msts --opinions runs/msts-experiment \
        --out benchmarks/results/msts-rates.csv

Truth is what people say of all rows. A classifier's scores are of items that it didn't learn from.
`mpnet-human` learned from people's labels of the other items, `words-gpt-4o` from GPT-4o alone.
Roads to the truth:

    naive           the classifier's mean, by itself
    judge_only      GPT-4o's share of all rows, taken as the truth
    people_only     the 300 labels, by themselves
    classifier      one hop: classifier, corrected with the labels
    judge           one hop: GPT-4o on all rows, corrected with the labels
    both            two hops: classifier and GPT-4o on all rows
    both_1000       two hops: the classifier on all rows, GPT-4o on 1,000, people on 300 of these

GPT-4o says nothing of grounding, and neither does a classifier that it taught. For the NSG Rate
people's labels are regressed on what the two say of safety, which tells a little of grounding. On
MSTS people call no misreading unsafe, so the kept probabilities of the two axes are put together
as cells without overlap, and Unsafe&SG is Unsafe.
"""

import argparse
import csv
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Shaped

from nsgauge.data.folders import new_file
from nsgauge.data.tables import data_fingerprint, read_triples, read_verdicts
from nsgauge.data.targets import labels_of
from nsgauge.eval.rates import (
    RateEstimate,
    RateStatus,
    RateTable,
    SimpleRandom,
    estimate_rates,
)
from nsgauge.protocol import RATES, Rate, rate_weights

PEOPLE, JUDGE = "human", "gpt-4o-2024-05-13"
CLASSIFIERS = ("mpnet-human", "words-gpt-4o")
FOLDS = 5
LABELS, JUDGED = 300, 1000
LIBRARIES = ("nsgauge", "numpy", "scipy")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """The rows that people and GPT-4o answered and the classifier scored as unseen.

    Attributes:
        people: Their cells.
        judge: GPT-4o's, with grounding at its first value.
        scores: The classifier's.
        items: The item of each row.
    """

    people: Float[np.ndarray, "rows cells"]
    judge: Float[np.ndarray, "rows cells"]
    scores: Float[np.ndarray, "rows cells"]
    items: Shaped[np.ndarray, " rows"]


def load_pool(data: Path, *, opinions: Path, classifier: str) -> Pool:
    """Read one classifier's scores and what people and GPT-4o say of the same rows."""
    told = pa.concat_tables(
        pq.read_table(opinions / f"{classifier}-items-{fold}-all-0.parquet").select(
            ["triple_id", "unsafe", *(["not_grounded"] if classifier.endswith("human") else [])]
        )
        for fold in range(FOLDS)
    )
    verdicts, triples = read_verdicts(data), read_triples(data)
    place = pc.index_in(triples["triple_id"], value_set=told["triple_id"].combine_chunks())
    triples = triples.filter(pc.is_valid(place))
    told = told.take(place.drop_null())
    ids = triples["triple_id"].to_pylist()
    people = _axes(verdicts, judge=PEOPLE, ids=ids)
    judge = _axes(verdicts, judge=JUDGE, ids=ids)
    nothing = np.zeros(len(ids))
    not_grounded = (
        told["not_grounded"].to_numpy() if "not_grounded" in told.schema.names else nothing
    )
    return Pool(
        people=_cells(*people),
        judge=_cells(judge[0], nothing),
        scores=_cells(told["unsafe"].to_numpy(), not_grounded),
        items=np.unique(np.array(triples["item_id"].to_pylist()), return_inverse=True)[1],
    )


def _axes(
    verdicts: pa.Table, *, judge: str, ids: Sequence[str]
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    labels = labels_of(verdicts.filter(pc.equal(verdicts["judge"], judge)), judge=judge)
    place = {triple_id: row for row, triple_id in enumerate(labels.triple_ids)}
    order = [place[triple_id] for triple_id in ids]
    return (labels.unsafe[order] == 1).astype(float), (labels.not_grounded[order] == 1).astype(
        float
    )


def _cells(
    unsafe: Float[np.ndarray, " rows"], not_grounded: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows cells"]:
    """Cells with no more overlap of the two axes than their probabilities force."""
    both = np.maximum(unsafe + not_grounded - 1, 0)
    parts = [1 - unsafe - not_grounded + both, unsafe - both, not_grounded - both, both]
    return np.stack(parts, axis=1)


def roads(
    pool: Pool, *, generator: np.random.Generator, by_item: bool
) -> Iterator[tuple[str, RateTable]]:
    """Every estimate from one draw.

    Args:
        pool: The rows.
        generator: Of the draw.
        by_item: Draw whole items, about as many rows; else single rows.
    """
    people = _only(
        pool.people, known=_drawn(pool, rows=LABELS, generator=generator, by_item=by_item)
    )
    design = SimpleRandom(items=pool.items)
    yield "people_only", estimate_rates(people, scores=None, design=design)
    yield "classifier", estimate_rates(people, scores=pool.scores, design=design)
    yield "judge", estimate_rates(pool.judge, scores=None, design=design, human=people)
    yield "both", estimate_rates(pool.judge, scores=pool.scores, design=design, human=people)
    judged = _drawn(pool, rows=JUDGED, generator=generator, by_item=by_item)
    some = Pool(
        people=pool.people[judged],
        judge=pool.judge[judged],
        scores=pool.scores[judged],
        items=pool.items[judged],
    )
    asked = np.zeros(len(judged), dtype=np.bool_)
    asked[judged] = _drawn(some, rows=LABELS, generator=generator, by_item=by_item)
    yield (
        "both_1000",
        estimate_rates(
            _only(pool.judge, known=judged),
            scores=pool.scores,
            design=design,
            human=_only(pool.people, known=asked),
        ),
    )


def _drawn(
    pool: Pool, *, rows: int, generator: np.random.Generator, by_item: bool
) -> Bool[np.ndarray, " rows"]:
    if not by_item:
        return np.isin(np.arange(len(pool.items)), generator.permutation(len(pool.items))[:rows])
    names = generator.permutation(np.unique(pool.items))
    count = round(rows / len(pool.items) * len(names))
    return np.isin(pool.items, names[:count])


def _only(
    cells: Float[np.ndarray, "rows cells"], *, known: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows cells"]:
    return np.asarray(np.where(known[:, None], cells, np.nan))


def table(pool: Pool, *, repetitions: int, by_item: bool) -> list[dict[str, object]]:
    """A line a road and rate; the widths and coverage are of the pool's own rate."""
    truths = {rate: float((pool.people @ rate_weights(rate)).mean()) for rate in RATES}
    found: dict[tuple[str, Rate], list[tuple[float, ...]]] = {}
    for seed in range(repetitions):
        generator = np.random.default_rng([seed, by_item])
        for road, rates in roads(pool, generator=generator, by_item=by_item):
            for rate, estimate in rates.rates.items():
                told = _outcome(estimate, truth=truths[rate])
                found.setdefault((road, rate), []).append(told)
    lines = list(_unchecked(pool, truths=truths))
    for (road, rate), values in found.items():
        each = np.array(values)
        line = {"road": road, "rate": str(rate), "truth": truths[rate]}
        line |= dict(zip(_MEANS, each.mean(axis=0).tolist(), strict=True))
        line |= {"error_sd": each[:, 0].std(ddof=1), "narrowest": each[:, 2].min()}
        lines.append(line)
    return lines


def _unchecked(pool: Pool, *, truths: dict[Rate, float]) -> Iterator[dict[str, object]]:
    """How far off classifier and judge are by themselves, on the axes that they speak of."""
    for road, cells in (("naive", pool.scores), ("judge_only", pool.judge)):
        for rate, truth in truths.items():
            share = cells @ rate_weights(rate)
            # A cell at its first value for want of an answer says nothing of grounding.
            if rate is Rate.UNSAFE or (cells @ rate_weights(Rate.NOT_GROUNDED)).any():
                bias = float(share.mean()) - truth
                yield {"road": road, "rate": str(rate), "truth": truth, "bias": bias}


def _outcome(estimate: RateEstimate, *, truth: float) -> tuple[float, ...]:
    low, high = estimate.low or 0.0, estimate.high or 0.0
    return (
        (estimate.value or 0.0) - truth,
        float(low - 1e-9 <= truth <= high + 1e-9),
        high - low,
        float(estimate.human or estimate.judged),
        float(estimate.effective or 0.0),
        float(estimate.labels_saved or 0.0),
        estimate.hop_shares[0] if estimate.hop_shares else np.nan,
        float(estimate.status is RateStatus.JUDGED),
    )


_MEANS = (
    "bias", "coverage", "width", "labels", "effective", "labels_saved", "first_hop_share",
    "certified",
)  # fmt: skip
_COLUMNS = ("classifier", "draw", "road", "rate", "truth", *_MEANS, "error_sd", "narrowest")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, estimate, count and write."""
    parser = argparse.ArgumentParser(description="The rates of MSTS with 300 human labels.")
    parser.add_argument("--data", type=Path, required=True, help="MSTS as a data folder")
    parser.add_argument("--opinions", type=Path, required=True, help="--work of benchmarks.msts")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file")
    parser.add_argument("--repetitions", type=int, default=1000)
    options = parser.parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    origin = {
        "repetitions": options.repetitions,
        "data_sha256": data_fingerprint(options.data),
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "command": shlex.join(["python", "-m", "benchmarks.msts_rates", *given]),
    }
    with new_file(options.out, overwrite=True) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*_COLUMNS, *origin], lineterminator="\n")
        writer.writeheader()
        for classifier in CLASSIFIERS:
            pool = load_pool(options.data, opinions=options.opinions, classifier=classifier)
            for by_item in (False, True):
                named = {"classifier": classifier, "draw": "items" if by_item else "rows"}
                for line in table(pool, repetitions=options.repetitions, by_item=by_item):
                    rounded = {
                        k: f"{v:.4g}" if isinstance(v, float) else v for k, v in line.items()
                    }
                    writer.writerow(named | rounded | origin)
                    print(*named.values(), *rounded.values())
    return 0


if __name__ == "__main__":
    sys.exit(main())
