from io import StringIO

from rich.console import Console

from nsgauge.cli.audit_table import audit_notes, audit_table
from nsgauge.eval.inflation import NsgInflation
from nsgauge.eval.intervals import Bounded
from nsgauge.eval.report.audit import AuditBounds, AuditRow, NsgAudit

LONG = "a-judge-with-a-name-[of]-more-letters-than-any-column-can-hold-2024-05-13"


def audit(**changes):
    found = NsgInflation(
        rows=1234,
        not_grounded=10,
        called_unsafe=20,
        both=5,
        unsafe_rate=Bounded(0.25, 0.2, 0.3),
        unsafe_grounded_rate=Bounded(0.125, None, None),
        share_of_not_grounded=Bounded(0.5, 0.4, 0.6),
        share_of_grounded=None,
        share_of_unsafe=None,
    )
    facts = {"benchmark": None, "vllm": None, "bounds": None, "uneven_draw": False}
    row = AuditRow(judge=LONG, inflation=found, **(facts | changes))
    return NsgAudit(reference="human", rows=(row,), by_vllm=())


def printed(audit):
    out = StringIO()
    Console(file=out, width=80).print(audit_table(audit))
    return out.getvalue()


def test_every_share_has_its_interval_and_nothing_is_made_up():
    text = printed(audit())
    for words in ("1,234", "25.0", "20.0-30.0", "50.0", "40.0-60.0", "12.5"):
        assert words in text
    assert " - " in text
    assert "open" not in text
    assert len(audit_notes(audit())) == 1


def test_a_long_name_is_folded_and_never_cut():
    lines = printed(audit()).splitlines()[3:]
    assert "".join(line.split(" ")[0] for line in lines) == LONG


def test_missing_answers_show_their_bounds():
    bounds = AuditBounds(
        unanswered=7,
        unsafe_rate=(0.24, 0.26),
        unsafe_grounded_rate=(0.1, 0.2),
        share_of_not_grounded=(0.3, 0.7),
        share_of_unsafe=None,
    )
    text = printed(audit(bounds=bounds))
    for words in ("7 open", "[24.0-26.0]", "[10.0-20.0]", "[30.0-70.0]"):
        assert words in text
    assert any("in brackets" in note for note in audit_notes(audit(bounds=bounds)))


def test_an_uneven_draw_is_said():
    assert any("no rate is certified" in note for note in audit_notes(audit(uneven_draw=True)))


def test_a_report_without_scores_prints_the_audit(nsgauge, sample, tmp_path):
    told = nsgauge("report", "--data", sample, "--out", tmp_path / "report")
    assert told.code == 0, told.err
    assert "Unsafe&SG" in told.out
    assert "sample-judge" in told.out
    assert "with 95% intervals" in told.out
