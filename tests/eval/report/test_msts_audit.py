"""The judge audit of the real MSTS files, against a plain count; none of their texts stand here."""

import csv
from pathlib import Path

import numpy as np
import pytest

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.registry import import_source
from nsgauge.eval.report.writing import report_from_folders

MSTS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "msts"


def read(name):
    with (MSTS / "data" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    if not MSTS.exists():
        pytest.skip(f"no MSTS tree at {MSTS}")
    folder = tmp_path_factory.mktemp("msts")
    import_source("msts", MSTS, out=folder / "data", options=ImportOptions())
    return report_from_folders(folder / "data", out=folder / "report", reference="human")


@pytest.fixture(scope="module")
def audit(report):
    return report.audit


@pytest.fixture(scope="module")
def people(audit):
    """Per row the case, and whether people call it a misreading (1.6, and 1.7 by our reading)."""
    assert audit is not None
    rows = read("response_annotations/english_multimodal.csv")
    codes = [row["final_taxonomy"][:3] for row in rows]
    return [row["case_id"] for row in rows], np.isin(codes, ["1.6", "1.7"])


def verdicts(judge):
    """1 unsafe, 0 safe, -1 anything else, as the file has it."""
    words = [
        row[judge].strip().lower().rstrip(".")
        for row in read("auto_eval/english_multimodal_autoeval.csv")
    ]
    return np.array([{"unsafe": 1, "safe": 0}.get(word, -1) for word in words])


def test_every_judge_of_the_files_is_audited(audit):
    judges = set(read("auto_eval/english_multimodal_autoeval.csv")[0])
    assert len(judges) == 8
    assert {row.judge for row in audit.rows} == judges | {"human", "human-1", "human-2"}


def test_every_number_of_the_audit_is_a_plain_count(audit, people):
    misread = people[1]
    for row in audit.rows:
        if row.judge.startswith("human"):
            continue
        said, found = verdicts(row.judge), row.inflation
        known, unsafe = said >= 0, said == 1
        assert found.rows == known.sum()
        assert found.unsafe_rate.value == pytest.approx(unsafe.sum() / known.sum())
        assert found.share_of_unsafe.value == pytest.approx(misread[unsafe].mean())
        called = (unsafe & misread).sum() / (known & misread).sum()
        assert found.share_of_not_grounded.value == pytest.approx(called)
        corrected = (unsafe & ~misread).sum() / known.sum()
        assert found.unsafe_grounded_rate.value == pytest.approx(corrected)
        if known.all():
            assert row.bounds is None
            continue
        assert row.bounds.unanswered == (~known).sum()
        low, high = row.bounds.unsafe_rate
        assert low == pytest.approx(unsafe.mean())
        assert high == pytest.approx((unsafe | ~known).mean())
        low, high = row.bounds.unsafe_grounded_rate
        assert low == pytest.approx((unsafe & ~misread).mean())
        assert high == pytest.approx(((unsafe | ~known) & ~misread).mean())


def test_the_intervals_are_those_of_redrawn_cases(audit, people):
    cases, misread = people
    codes = np.unique(cases, return_inverse=True)[1]
    row = next(row for row in audit.rows if row.judge.startswith("gpt-4o"))
    unsafe = verdicts(row.judge) == 1
    draw = np.random.default_rng(0)
    weights = draw.multinomial(
        codes.max() + 1, np.full(codes.max() + 1, 1 / (codes.max() + 1)), 2000
    )
    per_case = [
        np.bincount(codes, weights=values)
        for values in (np.ones(len(codes)), unsafe, unsafe & misread, unsafe & ~misread)
    ]
    rows, called, both, grounded = (weights @ sums for sums in per_case)
    for share, redrawn in (
        (row.inflation.unsafe_rate, called / rows),
        (row.inflation.share_of_unsafe, both / called),
        (row.inflation.unsafe_grounded_rate, grounded / rows),
    ):
        assert (share.low, share.high) == pytest.approx(
            np.quantile(redrawn, [0.025, 0.975]), abs=0.012
        )


def test_gpt_4o_calls_most_misreadings_unsafe_and_people_agree_with_people(report):
    judge = next(row for row in report.audit.rows if row.judge.startswith("gpt-4o"))
    share = judge.inflation.share_of_not_grounded
    assert share.low > 0.5
    assert judge.inflation.share_of_grounded.high < 0.2
    assert 0.3 < judge.inflation.share_of_unsafe.value < 0.45
    assert judge.inflation.unsafe_grounded_rate.value < 0.7 * judge.inflation.unsafe_rate.value
    humans = {"human-1", "human-2"}
    people = [pair for pair in report.comparison.judges if {pair.first, pair.second} == humans]
    assert people[0].axes["unsafe"].kappa > 0.65
    assert people[0].axes["not_grounded"].kappa > 0.5
