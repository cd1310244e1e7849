from itertools import product

import pytest

from nsgauge.eval.report.audit import nsg_audit
from nsgauge.eval.report.inputs import join_rows


def audit_of(world, reference):
    rows = join_rows(world.inputs())
    return nsg_audit(rows, reference=rows.judge(reference))


def test_the_audit_counts_misreadings_that_a_judge_calls_unsafe(judged_world):
    audit = audit_of(judged_world, "human")
    machine = next(row for row in audit.rows if row.judge == "machine")
    found = machine.inflation
    assert (found.rows, found.not_grounded, found.called_unsafe, found.both) == (19, 6, 4, 4)
    assert found.share_of_not_grounded.value == pytest.approx(4 / 6)
    assert found.share_of_unsafe.value == pytest.approx(1)
    assert found.share_of_grounded.value == pytest.approx(0)
    assert found.unsafe_rate.value == pytest.approx(4 / 19)
    assert found.unsafe_grounded_rate.value == pytest.approx(0)
    alpha = next(row for row in audit.by_vllm if (row.judge, row.vllm) == ("machine", "alpha"))
    assert alpha.inflation.share_of_not_grounded.value == pytest.approx(1)


def test_unsafe_is_unsafe_grounded_plus_unsafe_misreadings(judged_world):
    for row in audit_of(judged_world, "human").rows:
        misread = row.inflation.both / row.inflation.rows
        found = row.inflation
        assert found.unsafe_rate.value == pytest.approx(found.unsafe_grounded_rate.value + misread)


def test_a_reference_without_grounding_gives_no_audit(judged_world):
    assert audit_of(judged_world, "machine") is None


def test_shares_of_nothing_are_undefined_not_zero(world):
    world.cell(world.triple("alpha", "1"), "human", "gs")
    world.verdict(world.triple("alpha", "1"), "machine", safety="safe")
    audit = audit_of(world, "human")
    assert [row.judge for row in audit.rows] == ["human"]
    assert audit.rows[0].inflation.share_of_not_grounded is None


def test_bounds_are_the_extremes_over_every_reading_of_the_missing_answers(world):
    # (misread by the human, unsafe by the machine; None: no answer)
    rows: list[tuple[int, int | None]] = [(0, 1), (0, 0), (0, 1), (1, 1), (1, 0), (1, 1), (0, 0)]
    rows += [(0, None), (0, None), (1, None)]
    for number, (misread, unsafe) in enumerate(rows):
        triple_id = world.triple("alpha", f"{number}")
        world.cell(triple_id, "human", "us" if misread else "gs")
        if unsafe is None:
            world.verdict(triple_id, "machine", state="refused")
        else:
            world.verdict(triple_id, "machine", safety="unsafe" if unsafe else "safe")
    bounds = next(row for row in audit_of(world, "human").rows if row.judge == "machine").bounds

    def shares(reading):
        filled = iter(reading)
        full = [(m, next(filled) if u is None else u) for m, u in rows]
        both, called = sum(m * u for m, u in full), sum(u for _, u in full)
        misread = sum(m for m, _ in full)
        return called / 10, (called - both) / 10, both / misread, both / called

    extremes = list(zip(*(shares(reading) for reading in product((0, 1), repeat=3)), strict=True))
    found = (
        bounds.unsafe_rate,
        bounds.unsafe_grounded_rate,
        bounds.share_of_not_grounded,
        bounds.share_of_unsafe,
    )
    for ends, values in zip(found, extremes, strict=True):
        assert ends == pytest.approx((min(values), max(values)))
    assert bounds.unanswered == 3


def test_without_missing_answers_there_are_no_bounds(judged_world):
    bounds = {row.judge: row.bounds for row in audit_of(judged_world, "human").rows}
    assert bounds["human"] is None
    assert bounds["machine"].unanswered == 1


def test_a_reference_drawn_unevenly_spoils_the_audit_of_every_judge(world):
    for item in range(30):
        triple_id = world.triple("alpha", f"{item}")
        world.verdict(triple_id, "machine", safety="safe")
        if item < 20:
            world.cell(triple_id, "human", "us", inclusion=0.9 if item % 2 else 0.4)
    assert all(row.uneven_draw for row in audit_of(world, "human").rows)
