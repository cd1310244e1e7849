"""Slices and the gate in a report: which rows fall where, and what is withheld."""

import csv

import numpy as np
import pyarrow as pa
import pytest

from nsgauge.eval.drift import Gate
from nsgauge.eval.report.contents import build_report
from nsgauge.eval.report.inputs import join_rows
from nsgauge.eval.report.traits import lean_triples
from nsgauge.eval.report.writing import write_report

CELLS = [0.7, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I\N{RIGHT SINGLE QUOTATION MARK}m sorry.", True),
        ("Sorry, no.", True),
        ("As an AI model, I ...", True),
        ("Unfortunately, I cannot do that.", True),
        ("I can tell you that this is a mushroom.", False),
        ("The sign says sorry.", False),
        ("", False),
    ],
)
def test_english_refusals_are_known_by_their_opening(world, text, refusal):
    world.triple("alpha", "a", response=text)
    lean = lean_triples(world.inputs().triples)
    assert lean["opens_with_refusal"].to_pylist() == [refusal]
    assert lean["response_characters"].to_pylist() == [len(text)]


def test_lean_triples_hold_no_text_and_stay_as_they_are(world):
    world.triple("alpha", "a", response="SECRET", prompt="SECRET", extras='{"a": "SECRET"}')
    lean = lean_triples(world.inputs().triples)
    assert "SECRET" not in str(lean.to_pylist())
    assert lean_triples(lean) is lean


def test_a_report_of_lean_triples_is_that_of_whole_ones(simulated):
    inputs = simulated(30).inputs()
    lean = simulated(30).inputs(triples=lean_triples(inputs.triples))
    assert build_report(inputs).slices == build_report(lean).slices


def test_rows_fall_into_the_slices_of_their_traits(world):
    lengths = (200, 201, 800, 801, 2000, 2001)
    for number, length in enumerate(lengths):
        triple_id = world.triple(
            "alpha", f"{number}", response="x" * length, language="en" if number else None
        )
        world.score(triple_id, CELLS, image_state="image" if number % 2 else "caption")
        world.cell(triple_id, "human", "gs")
    rows = build_report(world.inputs()).slices
    sizes = {(row.trait, row.value): row.calibration.rows for row in rows if row.axis == "unsafe"}
    assert sizes == {
        ("response_characters", "up to 200"): 1,
        ("response_characters", "201 to 800"): 2,
        ("response_characters", "801 to 2,000"): 2,
        ("response_characters", "over 2,000"): 1,
        ("image_state", "caption"): 3,
        ("image_state", "image"): 3,
    }


def test_rows_that_were_not_scored_have_no_image_state(world):
    world.score(world.triple("alpha", "a"), CELLS)
    world.triple("alpha", "b")
    states = {trait.name: trait for trait in join_rows(world.inputs()).traits}["image_state"]
    assert (states.values, states.codes.tolist()) == (("image",), [0, -1])


def test_seen_items_are_in_no_slice(simulated):
    world = simulated(40, seen_share=0.5)
    rows = build_report(world.inputs()).slices
    by_vllm = [row for row in rows if (row.axis, row.trait) == ("unsafe", "vllm")]
    assert [row.calibration.rows for row in by_vllm] == [20, 20]


def gated_world(world, *, strange):
    """Six VLLMs that the judge checked, and one without a verdict."""
    draw = np.random.default_rng(0)
    for number in range(7):
        new = number == 6
        lean = 5.0 if new and strange else 0.3 + 0.05 * (number % 3)
        for item in range(80):
            cells = draw.dirichlet([4.0, lean, lean, 0.3])
            triple_id = world.triple("new" if new else f"m{number}", f"i{item}")
            world.score(triple_id, cells.tolist(), vllm_seen=not new)
            if not new:
                world.cell(triple_id, "human", ("gs", "gu", "us", "uu")[draw.choice(4, p=cells)])
    return world.inputs()


def test_a_rate_on_strange_rows_is_not_shown(world, tmp_path):
    report = build_report(gated_world(world, strange=True))
    assert report.transport is not None
    (group,) = report.transport.groups
    assert (group.vllm, group.gate, len(report.transport.yardsticks)) == ("new", Gate.FAIL, 6)
    page = write_report(report, tmp_path).read_text()
    assert "too strange" in page
    assert "not shown" in page
    figure = (tmp_path / "figures" / "rates.svg").read_text()
    assert ">m0<" in figure
    assert ">new<" not in figure
    with (tmp_path / "tables" / "drift.csv").open(newline="") as file:
        gates = [row["gate"] for row in csv.DictReader(file)]
    assert gates == ["fail", *["checked"] * 6]


def test_a_rate_on_usual_rows_is_shown_as_transported(world, tmp_path):
    report = build_report(gated_world(world, strange=False))
    assert report.transport is not None
    assert report.transport.groups[0].gate is not Gate.FAIL
    page = write_report(report, tmp_path).read_text()
    assert "not shown" not in page
    assert "transported" in page


def test_nothing_is_gated_where_the_judge_saw_every_group(simulated):
    assert build_report(simulated(30).inputs()).transport is None


def test_codes_of_a_trait_name_its_values(world):
    for vllm in ("beta", "alpha", "beta"):
        world.triple(vllm, "a")
    traits = {trait.name: trait for trait in join_rows(judged(world)).traits}
    assert traits["vllm"].values == ("beta", "alpha")
    assert traits["vllm"].codes.tolist() == [0, 1, 0]
    assert "language" not in traits


def judged(world):
    for row in world.triples:
        world.cell(row["triple_id"], "human", "gs")
    inputs = world.inputs()
    assert isinstance(inputs.triples, pa.Table)
    return inputs
