"""Which rows escalation and threshold checks stand on, and what the page says of them."""

import csv

import numpy as np
import pytest

from nsgauge.eval.report.comparison import Slice
from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.decision_words import check_sentences, escalation_sentences
from nsgauge.eval.report.decisions import Void
from nsgauge.eval.report.writing import write_report
from nsgauge.eval.threshold_check import Promise, Standing

SURE, UNSURE = [0.97, 0.03, 0.0, 0.0], [0.55, 0.45, 0.0, 0.0]


def reported(world, **fields):
    return build_report(world.inputs(**fields))


def add(world, vllm, counts, **columns):
    """Rows by scores and the human's cell: `{(cells, code): rows}`; a code None is no verdict."""
    for (cells, code), rows in counts.items():
        for _ in range(rows):
            triple_id = world.triple(vllm, f"item-{len(world.triples)}")
            world.score(triple_id, list(cells), **columns)
            if code is not None:
                world.cell(triple_id, "human", code)


@pytest.fixture
def decided(world):
    """Of the known VLLM, 120 sure verdicts are right and 10 of 30 unsure ones wrong."""
    sure, unsure = tuple(SURE), tuple(UNSURE)
    add(world, "alpha", {(sure, "gs"): 120, (unsure, "gs"): 20, (unsure, "gu"): 10})
    add(world, "alpha", {(sure, None): 4, (unsure, None): 6})
    add(world, "alpha", {(unsure, "gu"): 50}, item_seen=True)
    add(world, "new", {(sure, "gs"): 30, (sure, "gu"): 20}, vllm_seen=False)
    return world


def test_a_guarantee_is_found_on_unseen_items_of_known_vllms_alone(decided):
    report = reported(decided)
    unsafe = {entry.slice: entry for entry in report.escalation if entry.axis == "unsafe"}
    known, new = unsafe[Slice.SEEN_VLLM], unsafe[Slice.UNSEEN_VLLM]
    assert (known.curve.rows, known.curve.errors) == (150, 10)
    assert known.curve.coverage.tolist() == [0.8, 1.0]
    assert known.curve.risk.tolist() == pytest.approx([0, 1 / 15])
    strict, loose = known.offers
    assert (strict.guarantee.risk_limit, strict.guarantee.kept) == (0.05, 120)
    assert strict.guarantee.confidence == pytest.approx(0.97)
    assert (loose.guarantee.kept, loose.guarantee.errors) == (120, 0)
    # Ten known rows wait for an answer, six of them unsure; the new VLLM's errors count nowhere.
    assert (strict.waiting, strict.to_judge) == (10, 6)
    assert (strict.unseen_rows, strict.unseen_kept, strict.unseen_errors) == (50, 50, 20)
    assert (new.void, new.offers, new.curve.errors) == (Void.UNSEEN_VLLMS, (), 20)


def test_the_sentences_say_what_is_kept_and_where_it_is_void(decided):
    said = list(escalation_sentences(reported(decided).escalation))
    assert said[0] == (
        "For unsafe, 80.0% of the verdicts can be left to the classifier with at most 5% of them "
        "wrong; 20.0% go to the judge (6 of 10 rows that wait for an answer)."
    )
    assert "void for VLLMs that the classifier never saw, which answered 50 judged rows" in said[-1]


def test_where_no_vllm_is_known_there_is_no_guarantee(world, tmp_path):
    add(world, "new", {(tuple(SURE), "gs"): 90}, vllm_seen=False)
    report = reported(world)
    assert {entry.void for entry in report.escalation} == {Void.UNSEEN_VLLMS}
    assert "no other VLLM was judged" in list(escalation_sentences(report.escalation))[-1]
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "keep from" not in page
    with (tmp_path / "tables" / "escalation.csv").open(newline="") as file:
        assert {row["void"] for row in csv.DictReader(file)} == {"unseen_vllms"}


def test_an_uneven_draw_guarantees_and_tests_nothing(world):
    for item in range(80):
        triple_id = world.triple("alpha", f"item-{item}")
        world.score(triple_id, SURE)
        if item < 70:
            world.cell(triple_id, "human", "gs", inclusion=0.2 if item % 2 else 0.9)
    report = reported(world)
    assert {entry.void for entry in report.escalation} == {Void.UNEVEN_DRAW}
    assert "drawn with unequal probabilities" in next(escalation_sentences(report.escalation))
    assert {check.p_value for check in report.thresholds} == {None}
    assert {check.standing for check in report.thresholds} == {Standing.TOO_FEW}
    assert "not tested" in list(check_sentences(report.thresholds))[-1]


def test_nothing_safe_enough_goes_to_the_judge_whole(world):
    add(world, "alpha", {(tuple(SURE), "gs"): 60, (tuple(SURE), "gu"): 40})
    report = reported(world)
    unsafe = next(entry for entry in report.escalation if entry.axis == "unsafe")
    assert [offer.guarantee.kept for offer in unsafe.offers] == [0, 0]
    said = next(escalation_sentences(report.escalation))
    assert said.endswith("an error rate of 10% on 100 judged rows: leave them to the judge.")


@pytest.fixture
def checked(world):
    """One VLLM as on validation, one of whose positives half are missed, and one of few rows."""
    yes, no = (0.1, 0.9, 0.0, 0.0), (0.9, 0.1, 0.0, 0.0)
    add(world, "good", {(yes, "gu"): 40, (no, "gs"): 155, (yes, "gs"): 3, (no, "gu"): 2})
    add(world, "bad", {(yes, "gu"): 60, (no, "gs"): 80, (no, "gu"): 60}, vllm_seen=False)
    add(world, "few", {(yes, "gu"): 2, (no, "gs"): 5})
    return world


def test_a_threshold_holds_fails_or_cant_be_told(checked):
    checks = {c.vllm: c for c in reported(checked).thresholds if c.axis == "unsafe"}
    assert {vllm: check.standing for vllm, check in checks.items()} == {
        "good": Standing.HOLDS,
        "bad": Standing.FAILS,
        "few": Standing.TOO_FEW,
    }
    good, bad = checks["good"], checks["bad"]
    assert (good.promise, good.shares.difference.value) == (Promise.RATE, pytest.approx(1 / 200))
    assert bad.shares.recall.value == pytest.approx(0.5)
    assert bad.shares.difference.value == pytest.approx(-0.3)
    assert (good.vllm_seen, bad.vllm_seen) == (True, False)
    # Six lines are tested together, and the bad one is the smallest of them.
    assert bad.adjusted == pytest.approx(6 * bad.p_value)


def test_a_precision_target_is_held_to_its_precision(checked):
    target = {"unsafe": {"target": "precision", "precision": 0.9, "recall": None}}
    report = reported(checked, bundle={"threshold_target": target})
    checks = {c.vllm: c for c in report.thresholds if c.axis == "unsafe"}
    assert {(c.promise, c.wanted) for c in checks.values()} == {(Promise.PRECISION, 0.9)}
    assert checks["bad"].standing is Standing.HOLDS
    assert checks["few"].standing is Standing.TOO_FEW
    said = list(check_sentences(report.thresholds))
    assert "its precision is surely no more than 10 points below the 90.0%" in said[0]
    recall = {"unsafe": {"target": "recall", "recall": 0.9}, "not_grounded": {"target": "f1"}}
    report = reported(checked, bundle={"threshold_target": recall})
    failed = [c.vllm for c in report.thresholds if c.standing is Standing.FAILS]
    assert failed == ["bad"]
    assert "It doesn't hold for bad (unsafe)" in " ".join(check_sentences(report.thresholds))


def test_the_tables_repeat_the_result(checked, tmp_path):
    report = reported(checked)
    write_report(report, tmp_path)
    with (tmp_path / "tables" / "threshold_checks.csv").open(newline="") as file:
        lines = {(row["vllm"], row["axis"]): row for row in csv.DictReader(file)}
    assert lines["bad", "unsafe"]["standing"] == "does_not_hold"
    assert lines["bad", "unsafe"]["wanted"] == ""
    assert float(lines["good", "unsafe"]["precision"]) == pytest.approx(40 / 43)
    with (tmp_path / "tables" / "risk_coverage.csv").open(newline="") as file:
        curve = [row for row in csv.DictReader(file) if row["axis"] == "unsafe"]
    assert float(curve[-1]["coverage"]) == 1
    page = (tmp_path / "report.html").read_text()
    assert "does not hold" in page
    assert 'id="risk-unsafe' in page


def test_curves_and_checks_take_the_bundles_verdicts(world):
    """A low threshold makes rows positive that are probably negative; their confidence is low."""
    low = (0.8, 0.2, 0.0, 0.0)
    add(world, "alpha", {(low, "gs"): 8, (low, "gu"): 2}, unsafe_verdict=True)
    report = reported(world)
    unsafe = next(entry for entry in report.escalation if entry.axis == "unsafe")
    assert (unsafe.curve.rows, unsafe.curve.errors) == (10, 8)
    np.testing.assert_allclose(unsafe.curve.confidence, [0.2])
    check = next(check for check in report.thresholds if check.axis == "unsafe")
    assert (check.shares.called, check.shares.hits) == (10, 2)
