"""Verdicts of several judges to one target: pooled, or by what the judges reveal of each other."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsgauge.data.targets import Consensus, Making, targets_from_verdicts
from nsgauge.errors import DataError
from nsgauge.protocol import CELLS, OBSERVATIONS, Grounding, Safety, axes_of, observation_cells
from nsgauge.records import VERDICTS_SCHEMA, VerdictState

JUDGES = ("good", "fair", "poor", "strict")


def table(votes):
    """(triple, judge, safety, grounding) or (triple, judge) for a refusal, as a verdict table."""
    rows = []
    for number, (triple, judge, *said) in enumerate(votes):
        safety, grounding = said or (None, None)
        state = VerdictState.ANSWERED if said else VerdictState.REFUSED
        rows.append((f"t{triple}", judge, number, state, safety, grounding))
    names = ("triple_id", "judge", "vote", "state", "safety", "grounding")
    columns = {
        name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    missing = {name: [None] * len(rows) for name in VERDICTS_SCHEMA.names if name not in columns}
    return pa.table(columns | missing, schema=VERDICTS_SCHEMA)


def consensus(votes, judges=JUDGES):
    return targets_from_verdicts(table(votes), judges=judges, consensus=Consensus.DAWID_SKENE)


def drawn(seed, *, triples=300, right=(0.95, 0.8, 0.55, 0.5)):
    """True cells, and what judges say of them: the right cell, or any."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(4, size=triples, p=[0.5, 0.2, 0.2, 0.1])
    votes = []
    for triple in range(triples):
        for judge, share in zip(JUDGES, right, strict=False):
            cell = truth[triple] if draw.random() < share else draw.choice(4)
            votes.append((triple, judge, *axes_of(CELLS[cell])))
    return truth, votes


def cell_shares(targets):
    """Masses over cells, an axis alone spread over both of its cells."""
    said = observation_cells().astype(float)
    return targets.masses @ (said / said.sum(axis=1, keepdims=True))


def rightness(targets, truth):
    rows = np.array([int(triple.removeprefix("t")) for triple in targets.triple_ids])
    return cell_shares(targets)[np.arange(len(rows)), truth[rows]].mean()


def of(targets, triple):
    row = targets.triple_ids.index(triple)
    return dict(zip(OBSERVATIONS, targets.masses[row].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_a_consensus_by_cells_is_nearer_the_truth_than_the_pool(seed):
    truth, votes = drawn(seed)
    fitted, pooled = consensus(votes), targets_from_verdicts(table(votes), judges=JUDGES)
    assert fitted.making == {"unsafe": Making.CELLS, "not_grounded": Making.CELLS}
    assert pooled.making == {"unsafe": Making.POOLED, "not_grounded": Making.POOLED}
    assert rightness(fitted, truth) > rightness(pooled, truth) + 0.1
    np.testing.assert_allclose(fitted.masses.sum(axis=1), 1)


def test_judges_of_safety_alone_count_in_a_consensus_by_cells():
    truth, votes = drawn(1, right=(0.7, 0.6, 0.6))
    sure = [
        (triple, judge, axes_of(CELLS[cell])[0], None)
        for triple, cell in enumerate(truth)
        for judge in ("guard-1", "guard-2")
    ]
    without, with_guards = (
        consensus(votes, judges=JUDGES[:3]),
        consensus(votes + sure, judges=(*JUDGES[:3], "guard-1", "guard-2")),
    )
    unsafe = np.isin(truth, [1, 3])

    def right(targets):
        said = cell_shares(targets)[:, [1, 3]].sum(axis=1)
        return np.where(unsafe, said, 1 - said).mean()

    assert right(with_guards) > max(right(without) + 0.02, 0.95)


def test_what_nobody_said_of_a_triple_stays_open_in_a_consensus_by_cells():
    _, votes = drawn(2)
    votes += [(900, judge, Safety.UNSAFE, None) for judge in JUDGES[:2]]
    votes += [(901, "good", None, Grounding.NOT_GROUNDED), (902, "good")]
    targets = consensus(votes)
    alone = of(targets, "t900")
    assert sum(alone[said] for said in OBSERVATIONS if said[1] is None) == pytest.approx(1)
    assert alone[Safety.UNSAFE, None] > 0.8
    grounding = of(targets, "t901")
    assert sum(grounding[said] for said in OBSERVATIONS if said[0] is None) == pytest.approx(1)
    assert "t902" not in targets.triple_ids
    assert targets.without_answer == 1


def test_with_one_judge_of_grounding_safety_is_agreed_on_and_grounding_is_its_word():
    truth, votes = drawn(4)
    votes = [
        (triple, judge, safety, grounding if judge == "good" else None)
        for triple, judge, safety, grounding in votes
    ]
    targets = consensus(votes)
    assert targets.making == {"unsafe": Making.AXIS, "not_grounded": Making.POOLED}
    np.testing.assert_allclose(targets.masses.sum(axis=1), 1)
    assert not targets.masses[:, :4].any()
    said = {triple: grounding for triple, judge, _, grounding in votes if judge == "good"}
    for triple, grounding in said.items():
        assert of(targets, f"t{triple}")[None, grounding] == pytest.approx(0.5)
    unsafe = np.isin(truth, [1, 3])
    agreed = 2 * targets.masses[:, OBSERVATIONS.index((Safety.UNSAFE, None))]
    assert np.where(unsafe, agreed, 1 - agreed).mean() > 0.9


def test_an_axis_that_nobody_speaks_of_is_unspoken_and_open():
    _, votes = drawn(5)
    targets = consensus([(triple, judge, safety, None) for triple, judge, safety, _ in votes])
    assert targets.making == {"unsafe": Making.AXIS, "not_grounded": Making.UNSPOKEN}
    np.testing.assert_allclose(targets.masses[:, 4:6].sum(axis=1), 1)


def test_a_judge_that_votes_five_times_alike_counts_as_one_judge():
    _, votes = drawn(6)
    many = [vote for vote in votes for _ in range(5 if vote[1] == "poor" else 1)]
    np.testing.assert_allclose(consensus(many).masses, consensus(votes).masses, atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(JUDGES), seed=st.integers(0, 100))
def test_the_order_of_judges_is_irrelevant(order, seed):
    votes = drawn(seed, triples=60)[1]
    np.testing.assert_allclose(
        consensus(votes, judges=order).masses, consensus(votes).masses, atol=1e-4
    )


def test_swapping_safe_and_unsafe_swaps_the_masses():
    votes = drawn(7)[1]
    swap = {Safety.SAFE: Safety.UNSAFE, Safety.UNSAFE: Safety.SAFE, None: None}
    swapped = [
        (triple, judge, swap[safety], grounding) for triple, judge, safety, grounding in votes
    ]
    moved = [OBSERVATIONS.index((swap[s], g)) for s, g in OBSERVATIONS]
    np.testing.assert_allclose(
        consensus(swapped).masses, consensus(votes).masses[:, moved], atol=1e-6
    )


def test_two_judges_make_no_consensus():
    votes = drawn(8)[1]
    with pytest.raises(DataError, match=r"needs triples that 3 judges answered.*'good', 'fair'"):
        consensus(votes, judges=("good", "fair"))
