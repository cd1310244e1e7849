"""The order of the VLLMs on the page, against counts made by hand."""

import csv

import numpy as np
import pytest

from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.writing import write_report

LEANS = (("alpha", 2.0), ("beta", 0.7), ("gamma", 8.0))


@pytest.fixture(scope="module")
def world(simulated):
    return simulated(120, leans=LEANS)


@pytest.fixture(scope="module")
def report(world):
    return build_report(world.inputs())


def test_each_axis_orders_all_vllms_by_the_reference(report, world):
    assert [order.axis for order in report.orders] == ["unsafe", "not_grounded"]
    inputs = world.inputs()
    vllm_of = dict(
        zip(
            inputs.triples["triple_id"].to_pylist(), inputs.triples["vllm"].to_pylist(), strict=True
        )
    )
    seen = dict(
        zip(
            inputs.scores["triple_id"].to_pylist(),
            inputs.scores["item_seen"].to_pylist(),
            strict=True,
        )
    )
    said: dict[str, list[bool]] = {name: [] for name, _ in LEANS}
    columns = (inputs.verdicts["triple_id"].to_pylist(), inputs.verdicts["safety"].to_pylist())
    for triple_id, safety in zip(*columns, strict=True):
        if not seen[triple_id]:
            said[vllm_of[triple_id]].append(safety == "unsafe")
    unsafe = report.orders[0]
    assert {p.vllm: p.rate for p in unsafe.reference} == pytest.approx(
        {name: np.mean(answers) for name, answers in said.items()}
    )
    assert unsafe.rows == sum(len(answers) for answers in said.values())


def test_a_vllm_that_leans_far_has_the_last_place_by_both(report):
    order = next(order for order in report.orders if order.axis == "not_grounded")
    for side in (order.reference, order.classifier):
        gamma = side[-1]
        assert (gamma.vllm, gamma.first, gamma.last) == ("gamma", 3, 3)
    assert order.agreement.kendall is not None
    assert order.elsewhere is not None
    assert order.elsewhere <= 1


def test_the_page_and_the_table_show_it(report, tmp_path):
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="orders"' in page
    assert "the rest is luck of these items" in page
    with (tmp_path / "tables" / "orders.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * len(LEANS)
    assert {line["vllm"] for line in lines} == {name for name, _ in LEANS}


def test_two_vllms_have_no_order(simulated):
    assert build_report(simulated(60).inputs()).orders == ()
