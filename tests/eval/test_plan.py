from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsgauge.data.plan_file import PLAN_SCHEMA
from nsgauge.errors import DataError, SettingsError
from nsgauge.eval.plan import draw_plan
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.protocol import Safety
from nsgauge.records import (
    SCORES_SCHEMA,
    TRIPLES_SCHEMA,
    VERDICTS_SCHEMA,
    ResponseState,
    Triple,
    Verdict,
    VerdictState,
)

SEEDS = 500
UNSAFE = [0.02, 0.5, 0.9, 0.3, 0.0, 1.0, 0.6, 0.1]
LABELS = np.array([0, 1, 1, 0, 0, 1, 0, 1])


def triple(number, **changes):
    fields = {
        "item_id": f"i{number // 2}",
        "vllm": ("north", "south")[number % 2],
        "benchmark": "b",
        **changes,
    }
    return Triple(triple_id=f"t{number:02}", prompt="p", response=f"r{number}", **fields)


def verdict(number, *, judge="me", state=VerdictState.ANSWERED):
    safety = Safety.SAFE if state is VerdictState.ANSWERED else None
    return Verdict(triple_id=f"t{number:02}", judge=judge, state=state, safety=safety)


def table(rows, schema):
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)


def scores_of(unsafe, *, not_grounded=None, ids=None):
    """Score rows with these probabilities; None is a row without a score."""
    rows = []
    for number, value in enumerate(unsafe):
        missing = value is None
        rows.append(
            {
                "triple_id": f"t{number:02}" if ids is None else ids[number],
                "status": "image_error" if missing else "scored",
                "unsafe": value,
                "not_grounded": None if missing else (not_grounded or [0.0] * 99)[number],
                "image_state": "image",
                "text_windows": 1,
                "truncated": False,
                "item_seen": False,
                "vllm_seen": False,
            }
        )
    return pa.Table.from_pylist(rows, schema=SCORES_SCHEMA)


def draw(triples, *, verdicts=(), scores=None, **options):
    return draw_plan(
        table(triples, TRIPLES_SCHEMA),
        verdicts=table(verdicts, VERDICTS_SCHEMA),
        scores=scores,
        settings=PlanSettings(**options),
    )


def ids_of(plan):
    return plan.rows["triple_id"].to_pylist()


EIGHT = [triple(number) for number in range(8)]
UNEVEN = [
    *(triple(number, vllm="north", item_id=f"i{number // 3}") for number in range(5)),
    *(triple(number, vllm="south", item_id=f"i{number // 3}") for number in range(5, 8)),
]
EXPECTED: dict[str, tuple[dict[str, Any], list[Triple], list[float]]] = {
    "uniform": ({}, EIGHT, [3 / 8] * 8),
    "items": ({"by_item": True, "size": 2}, UNEVEN, [2 / 3] * 8),
    "proportional": ({"design": "stratified", "minimum": 1}, UNEVEN, [2 / 5] * 5 + [1 / 3] * 3),
    "equal": (
        {"design": "stratified", "minimum": 1, "allocation": "equal", "size": 4},
        UNEVEN,
        [2 / 5] * 5 + [2 / 3] * 3,
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_designs_with_equal_chances_declare_those_of_the_textbook(name):
    options, triples, expected = EXPECTED[name]
    declared = {}
    for seed in range(30):
        for row in draw(triples, **{"size": 3} | options, seed=seed).rows.to_pylist():
            declared[row["triple_id"]] = row["inclusion_probability"]
    assert [declared[row.triple_id] for row in triples] == pytest.approx(expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"by_item": True, "size": 2},
        {"design": "stratified", "minimum": 1, "allocation": "equal"},
        {"design": "stratified", "score_bins": 2, "axis": "unsafe", "minimum": 1, "size": 4},
        {"design": "uncertainty", "axis": "unsafe"},
        {"design": "uncertainty", "by_item": True, "size": 2},
    ],
    ids=str,
)
def test_rows_come_as_often_as_declared_and_weighing_by_it_is_unbiased(options):
    label = dict(zip((row.triple_id for row in UNEVEN), LABELS, strict=True))
    declared: dict[str, float] = {}
    times = dict.fromkeys(label, 0)
    totals = []
    for seed in range(SEEDS):
        plan = draw(UNEVEN, scores=scores_of(UNSAFE), **{"size": 3, **options}, seed=seed)
        assert plan.units == options.get("size", 3)
        rows = plan.rows.to_pylist()
        for row in rows:
            times[row["triple_id"]] += 1
            chance = declared.setdefault(row["triple_id"], row["inclusion_probability"])
            assert chance == row["inclusion_probability"]
        totals.append(sum(label[r["triple_id"]] / r["inclusion_probability"] for r in rows))
    chances = np.array([declared[key] for key in label])
    found = np.array(list(times.values())) / SEEDS
    assert (np.abs(found - chances) <= 4.5 * np.sqrt(chances * (1 - chances) / SEEDS)).all()
    error = np.std(totals, ddof=1) / np.sqrt(SEEDS)
    assert abs(np.mean(totals) - LABELS.sum()) <= 4.5 * error


def test_a_later_round_is_unbiased_given_what_was_judged_before():
    before = draw(UNEVEN, size=3, judge="me", seed=5)
    label = dict(zip((row.triple_id for row in UNEVEN), LABELS, strict=True))
    known = sum(label[key] for key in ids_of(before))
    verdicts = [verdict(int(key[1:])) for key in ids_of(before)]
    totals = []
    for seed in range(SEEDS):
        plan = draw(UNEVEN, verdicts=verdicts, size=2, judge="me", round=2, seed=seed)
        assert plan.judged_before == 3
        assert not set(ids_of(plan)) & set(ids_of(before))
        rows = plan.rows.to_pylist()
        weighed = sum(label[r["triple_id"]] / r["inclusion_probability"] for r in rows)
        totals.append(known + weighed)
    error = np.std(totals, ddof=1) / np.sqrt(SEEDS)
    assert abs(np.mean(totals) - LABELS.sum()) <= 4.5 * error


def test_uncertainty_follows_the_chosen_axis_or_the_larger_of_the_two():
    triples = [triple(number) for number in range(4)]
    # u is sqrt(f (1 - f)): .5 where f is a half, 0 where it is sure.
    scores = scores_of([0.5, 0.0, 1.0, 0.0], not_grounded=[0.0, 0.5, 0.0, 1.0])
    given_out = partial(draw, triples, scores=scores, size=1, design="uncertainty")

    def chances(axis):
        found = {}
        for seed in range(60):
            for row in given_out(axis=axis, seed=seed).rows.to_pylist():
                found[row["triple_id"]] = row["inclusion_probability"]
        return [found.get(f"t{number:02}") for number in range(4)]

    # The floor is .2 / 4 a row; the rest, .8, goes to the uncertain.
    assert chances("unsafe") == pytest.approx([0.85, 0.05, 0.05, 0.05])
    assert chances("not_grounded") == pytest.approx([0.05, 0.85, 0.05, 0.05])
    assert chances("either") == pytest.approx([0.45, 0.45, 0.05, 0.05])


def test_a_row_without_a_score_counts_as_most_uncertain():
    triples = [triple(number) for number in range(3)]
    plan = draw(triples, scores=scores_of([None, 0.5, 0.0]), size=2, design="uncertainty")
    stratum = plan.strata[0]
    assert (stratum.name, stratum.population, stratum.drawn) == ("all", 3, 2)
    # Weights .8/2 + .2/3, the same, and .2/3; twice that.
    assert (stratum.highest, stratum.lowest) == pytest.approx((28 / 30, 4 / 30))


def test_score_bins_part_each_stratum_and_the_unscored():
    triples = [triple(number, vllm="north") for number in range(5)]
    scores = scores_of([0.1, 0.9, 0.2, 0.8, None])
    options = {"design": "stratified", "score_bins": 2, "axis": "unsafe", "minimum": 1}
    plan = draw(triples, scores=scores, size=5, **options)
    found = dict(zip(ids_of(plan), plan.rows["stratum"].to_pylist(), strict=True))
    assert found == {
        "t00": "b/north unsafe 1/2",
        "t01": "b/north unsafe 2/2",
        "t02": "b/north unsafe 1/2",
        "t03": "b/north unsafe 2/2",
        "t04": "b/north unsafe unscored",
    }


def test_only_answers_that_the_judge_has_not_answered_on_are_drawn():
    triples = [
        *EIGHT[:5],
        triple(5, response_state=ResponseState.EMPTY),
        triple(6, response_state=ResponseState.NOT_A_RESPONSE),
    ]
    verdicts = [
        verdict(0),
        verdict(1, judge="other"),
        verdict(2, state=VerdictState.REFUSED),
        verdict(3),
    ]
    plan = draw(triples, verdicts=verdicts, size=99, judge="me")
    assert ids_of(plan) == ["t01", "t02", "t04"]
    assert plan.rows["inclusion_probability"].to_pylist() == [1.0, 1.0, 1.0]
    assert (plan.judged_before, plan.population, plan.units) == (2, 3, 3)


def test_an_item_is_drawn_with_all_the_responses_that_are_left():
    plan = draw(EIGHT, verdicts=[verdict(0)], size=4, judge="me", by_item=True)
    assert ids_of(plan) == [f"t{number:02}" for number in range(1, 8)]
    for seed in range(20):
        drawn = set(ids_of(draw(EIGHT, size=2, by_item=True, seed=seed)))
        items = {row.item_id for row in EIGHT if row.triple_id in drawn}
        assert len(items) == 2
        assert drawn == {row.triple_id for row in EIGHT if row.item_id in items}


def test_items_of_two_benchmarks_with_one_id_are_two():
    triples = [triple(0, item_id="i"), triple(1, item_id="i", benchmark="c")]
    plan = draw(triples, size=1, by_item=True)
    assert plan.rows["inclusion_probability"].to_pylist() == [0.5]
    plan = draw(triples, size=2, by_item=True, design="stratified", minimum=1)
    assert [stratum.name for stratum in plan.strata] == ["b", "c"]


def test_a_small_stratum_gives_all_it_has():
    triples = [*(triple(n, vllm="north") for n in range(7)), triple(7, vllm="south")]
    plan = draw(triples, size=4, design="stratified", minimum=3)
    found = {stratum.name: stratum for stratum in plan.strata}
    assert (found["b/north"].drawn, found["b/south"].drawn) == (3, 1)
    assert (found["b/north"].lowest, found["b/south"].lowest) == (3 / 7, 1.0)
    with pytest.raises(SettingsError, match="2 strata with at least 3 each take 4, the size is 3"):
        draw(triples, size=3, design="stratified", minimum=3)


@pytest.mark.parametrize("design", ["uniform", "stratified", "uncertainty"])
@pytest.mark.parametrize("by_item", [False, True])
def test_nothing_and_everything_can_be_drawn(design, by_item):
    scores = scores_of(UNSAFE)
    options = {"design": design, "by_item": by_item, "scores": scores}
    nothing = draw(EIGHT, size=0, **options)
    assert nothing.rows.num_rows == 0
    assert nothing.rows.schema.equals(PLAN_SCHEMA)
    assert {stratum.highest for stratum in nothing.strata} == {0.0}
    everything = draw(EIGHT, size=8, **options)
    assert ids_of(everything) == [row.triple_id for row in EIGHT]
    assert set(everything.rows["inclusion_probability"].to_pylist()) == {1.0}
    assert draw(EIGHT, size=10**9, **options).rows.equals(everything.rows)
    judged = draw(EIGHT, verdicts=[verdict(n) for n in range(8)], judge="me", size=3, **options)
    assert (judged.rows.num_rows, judged.population, judged.strata) == (0, 0, [])
    assert draw([], size=3, **options).rows.num_rows == 0


def test_the_seed_and_the_round_decide_the_draw():
    triples = [triple(number) for number in range(40)]
    one = draw(triples, size=10, seed=1)
    assert draw(triples, size=10, seed=1).rows.equals(one.rows)
    assert set(one.rows["seed"].to_pylist()) == {1}
    assert ids_of(draw(triples, size=10, seed=2)) != ids_of(one)
    # A larger plan of the same seed holds the smaller one.
    assert set(ids_of(draw(triples, size=15, seed=1))) > set(ids_of(one))
    second = {"verdicts": [verdict(99)], "judge": "me", "size": 10, "seed": 1}
    assert ids_of(draw(triples, **second)) == ids_of(one)
    assert ids_of(draw(triples, **second, round=2)) != ids_of(one)


OPTIONS = st.one_of(
    st.just({}),
    st.just({"by_item": True}),
    st.just({"design": "stratified", "minimum": 1}),
    st.just({"design": "stratified", "minimum": 1, "score_bins": 3, "axis": "unsafe"}),
    st.just({"design": "uncertainty"}),
    st.just({"design": "uncertainty", "by_item": True, "axis": "not_grounded"}),
)
PROBABILITY = st.none() | st.floats(0, 1, width=32)


@settings(max_examples=40, deadline=None)
@given(
    options=OPTIONS,
    unsafe=st.lists(PROBABILITY, min_size=1, max_size=14),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**63 - 1),
    order=st.randoms(use_true_random=False),
)
def test_a_plan_is_whole_and_the_order_of_rows_changes_nothing(options, unsafe, share, seed, order):
    triples = [triple(number) for number in range(len(unsafe))]
    scores = scores_of(unsafe)
    size = max(8, round(share * len(unsafe)))
    plan = draw(triples, scores=scores, size=size, seed=seed, **options)
    assert plan.units == sum(stratum.drawn for stratum in plan.strata)
    assert plan.units == min(size, sum(stratum.population for stratum in plan.strata))
    if not options.get("by_item"):
        assert plan.rows.num_rows == plan.units
    for row in plan.rows.to_pylist():
        stratum = next(s for s in plan.strata if s.name == row["stratum"])
        assert 0 < stratum.lowest <= row["inclusion_probability"] <= stratum.highest <= 1
    order.shuffle(triples)
    moved = scores.take(pa.array(order.sample(range(len(unsafe)), len(unsafe)), pa.int64()))
    assert draw(triples, scores=moved, size=size, seed=seed, **options).rows.equals(plan.rows)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"verdicts": [verdict(0)]}, "there are verdicts of 'me'; give --judge"),
        ({"round": 2, "judge": "you", "verdicts": [verdict(0)]}, "'you' has answered on nothing"),
        ({"design": "uncertainty"}, "the uncertainty design needs scores: give --scores"),
        ({"design": "stratified", "score_bins": 2, "axis": "unsafe"}, "score_bins needs scores"),
    ],
)
def test_what_is_missing_is_said(options, named):
    with pytest.raises(SettingsError, match=named):
        draw(EIGHT, size=3, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"score_bins": 2, "axis": "unsafe"}, "not for uniform"),
        ({"score_bins": 2, "design": "stratified"}, "needs one axis"),
        ({"floor": 0.0}, "floor"),
        ({"minimum": 0}, "minimum"),
        ({"size": -1}, "size"),
        ({"judge": ""}, "judge"),
    ],
)
def test_settings_that_make_no_plan_are_refused(options, named):
    with pytest.raises(SettingsError, match=named):
        PlanSettings.from_mapping({"size": 3, **options}, source="options")


def test_scores_of_other_data_are_refused():
    scores = scores_of([0.5] * 7, ids=[f"t{number:02}" for number in range(1, 8)])
    with pytest.raises(DataError, match="1 of 8 triples have no row in the scores"):
        draw(EIGHT, scores=scores, size=3, design="uncertainty")
