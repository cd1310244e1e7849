import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from nsgauge.eval.report.comparison import Slice, compare
from nsgauge.eval.report.inputs import join_rows


def compared(world, reference):
    return compare(join_rows(world.inputs()), reference=reference)


def test_seen_rows_never_enter_the_classifiers_agreement(world):
    for item in range(12):
        triple_id = world.triple("alpha", f"{item}")
        world.cell(triple_id, "human", "gu" if item % 2 else "gs")
        # On seen items the classifier is perfect, on the others always wrong.
        right = (item % 2 == 1) == (item < 6)
        world.score(triple_id, [0.1, 0.9, 0, 0] if right else [0.9, 0.1, 0, 0], item_seen=item < 6)
    found = compared(world, reference="human")
    unsafe = next(entry for entry in found.classifier if entry.axis == "unsafe")
    assert found.left_out == 6
    assert (unsafe.agreement.rows, unsafe.agreement.accuracy) == (6, 0)
    assert unsafe.agreement.auroc == 0


def test_measures_match_scikit_learn_on_each_slice(simulated):
    world = simulated(80, seen_share=0.25, seed=2)
    found = compared(world, reference="human")
    truth = {verdict["triple_id"]: verdict["safety"] == "unsafe" for verdict in world.verdicts}
    for part, wanted in (
        (Slice.ALL, (True, False)),
        (Slice.SEEN_VLLM, (True,)),
        (Slice.UNSEEN_VLLM, (False,)),
    ):
        fresh = [row for row in world.scores if not row["item_seen"] and row["vllm_seen"] in wanted]
        labels = [truth[row["triple_id"]] for row in fresh]
        entry = next(e for e in found.classifier if (e.axis, e.slice) == ("unsafe", part))
        kappa = cohen_kappa_score(labels, [row["unsafe_verdict"] for row in fresh])
        assert entry.agreement.rows == len(fresh)
        assert entry.agreement.kappa == pytest.approx(kappa)
        auroc = roc_auc_score(labels, [row["unsafe"] for row in fresh])
        assert entry.agreement.auroc == pytest.approx(auroc, abs=1e-6)


def test_one_kind_of_vllm_gives_one_slice(simulated):
    world = simulated(20)
    for row in world.scores:
        row["vllm_seen"] = True
    found = compared(world, reference="human")
    assert {entry.slice for entry in found.classifier} == {Slice.ALL}


def test_judges_are_compared_on_the_rows_that_both_answered(judged_world):
    found = compared(judged_world, reference="machine")
    (pair,) = found.judges
    assert (pair.first, pair.second) == ("machine", "human")
    assert list(pair.axes) == ["unsafe"]
    assert pair.axes["unsafe"].confusion == ((13, 2), (3, 1))
    assert pair.outcomes is None


def test_human_against_human_has_both_axes_and_the_outcomes(judged_world):
    for triple in judged_world.triples:
        judged_world.cell(triple["triple_id"], "second", "gs")
    found = compared(judged_world, reference="human")
    pair = next(pair for pair in found.judges if pair.second == "second")
    assert pair.first == "human"
    assert set(pair.axes) == {"unsafe", "not_grounded"}
    # human: 12 gs, 2 gu, 6 misreadings; the other says gs always.
    assert pair.outcomes.accuracy == pytest.approx(12 / 20)
    assert pair.outcomes.kappa == pytest.approx(0)


def test_a_judge_that_votes_again_is_held_against_itself(judged_world):
    for number, triple in enumerate(judged_world.triples):
        if number < 10:
            judged_world.cell(triple["triple_id"], "human", "gu" if number < 6 else "us", vote=1)
    (repeats,) = compared(judged_world, reference="human").repeats
    # alpha was gs, gs, gs, gs, gu, gu, us, us, us, uu; safety differs on four rows and the last.
    assert repeats.judge == "human"
    unsafe, not_grounded = repeats.axes["unsafe"], repeats.axes["not_grounded"]
    assert (unsafe.triples, unsafe.votes) == (10, 20)
    assert unsafe.flip_rate.value == pytest.approx(0.5)
    assert not_grounded.flip_rate.value == 0
    assert not_grounded.ac1.value == 1


def test_single_votes_give_no_self_agreement(judged_world):
    assert compared(judged_world, reference="human").repeats == ()
