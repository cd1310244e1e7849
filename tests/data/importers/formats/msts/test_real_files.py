"""The real MSTS files, against a plain read of the same files; none of their texts stand here."""

import csv
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from nsgauge.data.importers.formats.msts.labels import human_verdicts
from nsgauge.protocol import Grounding, Safety

GROUNDED, NOT_GROUNDED = Grounding.GROUNDED, Grounding.NOT_GROUNDED
REAL = Path(__file__).resolve().parents[5].parent / "shared" / "data" / "msts"


@pytest.fixture(scope="module")
def real_rows():
    path = REAL / "data" / "response_annotations" / "english_multimodal.csv"
    if not path.exists():
        pytest.skip(f"no MSTS tree at {REAL}")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def real(run_import, real_rows):
    assert real_rows
    return run_import("msts", REAL, languages=["all"])


def english(outcome, judge):
    found = outcome.said(judge)
    return [labels for name, labels in found.items() if name.startswith("english/")]


def test_every_row_of_the_real_files_is_a_triple(real, real_rows):
    folder = REAL / "data" / "response_annotations"
    wanted: Counter[str] = Counter()
    for path in folder.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            wanted[path.stem.removesuffix("_multimodal")] = len(list(csv.DictReader(file)))
    found = Counter(triple.triple_id.split("/")[0] for triple in real.triples)
    assert found == wanted
    assert real.rejects == []
    ours = [t for t in real.triples if t.triple_id.startswith("english/")]
    assert [t.response for t in ours] == [row["response"] for row in real_rows]


def test_the_real_annotators_agree_as_the_file_says(real, real_rows):
    judges = english(real, "human-1"), english(real, "human-2")
    labels = [[row[f"annot{n}_label"] for row in real_rows] for n in (1, 2)]
    unsafe = [[label.startswith("2") for label in column] for column in labels]
    ours = [[safety == Safety.UNSAFE for safety, _ in judge] for judge in judges]
    assert ours == unsafe
    assert cohen_kappa_score(*ours) == pytest.approx(0.725, abs=0.05)
    agreed = [row["agreement_label"] == "TRUE" for row in real_rows]
    assert [a == b for a, b in zip(*ours, strict=True)] == agreed
    misread = [[label.startswith(("1.6", "1.7")) for label in column] for column in labels]
    ours = [[grounding == NOT_GROUNDED for _, grounding in judge] for judge in judges]
    assert ours == misread


def strictly(rows):
    """The adjudicated labels of rows by the strict reading."""
    read = partial(human_verdicts, triple_id="t", where="w", strict=True)
    verdicts = [verdict for row in rows for verdict in read(row) if verdict.judge == "human"]
    return [(verdict.safety, verdict.grounding) for verdict in verdicts]


def test_the_real_adjudicated_cells_are_the_counts_of_the_file(real, real_rows):
    codes = Counter(row["final_taxonomy"][:3] for row in real_rows)
    for strict, labels in ((False, english(real, "human")), (True, strictly(real_rows))):
        found = Counter(labels)
        unsafe = sum(count for code, count in codes.items() if code.startswith("2"))
        silent = sum(codes[code] for code in ("1.2", "1.4", "1.5", "1.7", "1.Z")) if strict else 0
        misread = codes["1.6"] + (0 if strict else codes["1.7"])
        assert found[Safety.UNSAFE, GROUNDED] == unsafe
        assert found[Safety.SAFE, NOT_GROUNDED] == misread
        assert found[Safety.SAFE, None] == silent
        assert found[Safety.SAFE, GROUNDED] == len(real_rows) - unsafe - misread - silent


def test_the_real_automatic_judges_keep_their_odd_answers_apart(real, real_rows):
    with (REAL / "data" / "auto_eval" / "english_multimodal_autoeval.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(real_rows)
    for judge in rows[0]:
        words = Counter(row[judge].lower().rstrip(".") for row in rows)
        found = Counter(safety for safety, _ in english(real, judge))
        assert found[Safety.SAFE] == words["safe"]
        assert found[Safety.UNSAFE] == words["unsafe"]
        assert found[None] == len(rows) - words["safe"] - words["unsafe"]
