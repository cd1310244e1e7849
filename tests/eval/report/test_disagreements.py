"""Which disagreements are shown: counted by hand, and by the rule that the page states."""

import numpy as np

from nsgauge.eval.report.disagreements import Chosen, disagreements
from nsgauge.eval.report.inputs import join_rows

SURE, DOUBTFUL, SAFE = [0.1, 0.9, 0.0, 0.0], [0.4, 0.6, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]


def found_in(world, *, cases=16, seed=0):
    inputs = world.inputs()
    rows = join_rows(inputs)
    assert rows.scores is not None
    return disagreements(
        rows,
        ids=inputs.triples["triple_id"],
        scores=rows.scores,
        reference=rows.judge("human"),
        wanted=cases,
        seed=seed,
    )


def kinds_of(world, **fields):
    found = found_in(world, **fields)
    assert found is not None
    return {(kind.axis, kind.called): kind for kind in found.kinds}


def add(world, item, *, cells, judged, vllm="alpha", **columns):
    triple_id = world.triple(vllm, item)
    world.score(triple_id, cells, **columns)
    world.cell(triple_id, "human", judged)
    return triple_id


def test_each_kind_counts_its_rows_among_the_unseen_ones(world):
    add(world, "a", cells=SURE, judged="gs")
    add(world, "b", cells=DOUBTFUL, judged="gu")
    add(world, "c", cells=SAFE, judged="gu")
    add(world, "d", cells=SAFE, judged="us")
    add(world, "e", cells=SURE, judged="gs", item_seen=True)
    kinds = kinds_of(world)
    counts = {key: (kind.rows, kind.compared) for key, kind in kinds.items()}
    assert counts == {("unsafe", True): (1, 4), ("unsafe", False): (1, 4)} | {
        ("not_grounded", False): (1, 4)
    }


def test_half_are_the_surest_and_no_item_is_shown_twice(world):
    ids = {}
    for item in range(30):
        share = 0.55 + item / 100
        for vllm in ("alpha", "beta"):
            cells = [1 - share, share, 0.0, 0.0]
            ids[item, vllm] = add(world, f"i{item}", cells=cells, judged="gs", vllm=vllm)
    (kind,) = kinds_of(world, cases=16).values()
    assert (kind.rows, kind.compared, len(kind.cases)) == (60, 60, 4)
    surest = [case.triple_id for case in kind.cases if case.chosen is Chosen.SUREST]
    assert surest == [ids[29, "alpha"], ids[28, "alpha"]]
    items = [case.triple_id.split("/")[1] for case in kind.cases]
    assert len(set(items)) == 4


def test_the_draw_follows_the_seed_and_reaches_every_row(world):
    for item in range(12):
        add(world, f"i{item}", cells=SURE if item < 2 else DOUBTFUL, judged="gs")
    drawn = set()
    for seed in range(40):
        (kind,) = kinds_of(world, seed=seed).values()
        (again,) = kinds_of(world, seed=seed).values()
        assert kind == again
        drawn |= {case.triple_id for case in kind.cases if case.chosen is Chosen.RANDOM}
    assert len(drawn) == 10


def test_a_case_carries_cells_and_what_the_reference_said(world):
    triple_id = world.triple("alpha", "a")
    world.score(triple_id, [0.1, 0.2, 0.3, 0.4])
    world.verdict(triple_id, "human", safety="safe")
    (kind,) = kinds_of(world).values()
    (case,) = kind.cases
    assert (case.unsafe, case.not_grounded) == (False, None)
    assert np.allclose(list(case.cells.values()), [0.1, 0.2, 0.3, 0.4])


def test_no_case_is_shown_where_none_is_wanted_or_nobody_differs(world):
    add(world, "a", cells=SURE, judged="gu")
    assert found_in(world) is None
    add(world, "b", cells=SURE, judged="gs")
    assert found_in(world, cases=0) is None
