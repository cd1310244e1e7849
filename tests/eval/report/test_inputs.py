import pyarrow as pa
import pytest

from nsgauge.errors import DataError
from nsgauge.eval.report.inputs import join_rows, pick_reference


def joined(world):
    return join_rows(world.inputs())


def test_columns_follow_the_triples_whatever_the_order_of_the_other_tables(judged_world):
    inputs = judged_world.inputs()
    shuffled = judged_world.inputs(verdicts=inputs.verdicts.take(list(range(39, -1, -1))))
    human, other = (join_rows(source).judge("human") for source in (inputs, shuffled))
    assert human.unsafe.tolist() == [False] * 4 + [True] * 2 + [False] * 3 + [True] + [False] * 10
    assert human.unsafe.tolist() == other.unsafe.tolist()
    assert human.not_grounded.tolist() == other.not_grounded.tolist()


def test_a_refused_verdict_is_asked_but_not_known(judged_world):
    machine = join_rows(judged_world.inputs()).judge("machine")
    assert machine.asked.all()
    assert int((~machine.unsafe_known).sum()) == 1
    assert machine.states == {"answered": 19, "refused": 1}
    assert not machine.has_grounding


def test_tied_votes_are_not_known(world):
    triple_id = world.triple("alpha", "one")
    world.verdict(triple_id, "judge", safety="safe", vote=0)
    world.verdict(triple_id, "judge", safety="unsafe", vote=1)
    assert not join_rows(world.inputs()).judge("judge").unsafe_known.any()


def test_equal_item_ids_of_two_benchmarks_are_two_items(world):
    world.triple("alpha", "1", benchmark="first")
    world.triple("alpha", "1", benchmark="second")
    assert len(set(join_rows(world.inputs()).item.tolist())) == 2


def test_probabilities_of_unscored_rows_are_never_used(world):
    world.score(world.triple("alpha", "1"), None)
    world.score(world.triple("alpha", "2"), [0.1, 0.2, 0.3, 0.4])
    scores = joined(world).scores
    assert scores.scored.tolist() == [False, True]
    assert scores.cells[1].sum() == pytest.approx(1, abs=1e-12)
    assert scores.probability("unsafe")[1] == pytest.approx(0.6, abs=1e-6)
    assert scores.probability("not_grounded")[1] == pytest.approx(0.7, abs=1e-6)


def test_a_verdict_of_an_unknown_triple_is_named(world):
    world.triple("alpha", "1")
    world.cell("nowhere", "human", "gs")
    with pytest.raises(DataError, match="'nowhere'"):
        join_rows(world.inputs())


def test_a_triple_scored_twice_is_refused(world):
    triple_id = world.triple("alpha", "1")
    world.score(triple_id, [0.25] * 4)
    world.score(triple_id, [0.25] * 4)
    with pytest.raises(DataError, match="twice"):
        join_rows(world.inputs())


def test_no_triples_is_an_error_that_says_so(world):
    with pytest.raises(DataError, match="no triples"):
        join_rows(world.inputs())


def test_a_triple_id_that_repeats_is_refused(world):
    world.triple("alpha", "1")
    inputs = world.inputs()
    with pytest.raises(DataError, match="twice"):
        join_rows(world.inputs(triples=pa.concat_tables([inputs.triples, inputs.triples])))


def test_the_wanted_reference_wins_then_the_teacher_then_the_fullest_judge(judged_world):
    rows = join_rows(judged_world.inputs())
    assert pick_reference(rows, wanted="machine", teachers=("human",)) == "machine"
    assert pick_reference(rows, wanted=None, teachers=("gone", "machine")) == "machine"
    assert pick_reference(rows, wanted=None, teachers=()) == "human"
    with pytest.raises(DataError, match=r"'nobody'.*'human', 'machine'"):
        pick_reference(rows, wanted="nobody", teachers=())


def test_without_verdicts_there_is_no_reference(world):
    world.triple("alpha", "1")
    assert pick_reference(join_rows(world.inputs()), wanted=None, teachers=()) is None
