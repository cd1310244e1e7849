from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.targets import judge_counts, labels_of, targets_from_verdicts
from nsgauge.errors import DataError
from nsgauge.protocol import OBSERVATIONS, Cell, Grounding, Safety
from nsgauge.records import VERDICTS_SCHEMA, Verdict, VerdictState

SAYINGS = [*OBSERVATIONS, VerdictState.REFUSED, VerdictState.UNPARSABLE, VerdictState.UNJUDGED]
VOTES = st.lists(
    st.tuples(
        st.sampled_from(["t1", "t2", "t3", "t4"]),
        st.sampled_from(["alpha", "beta"]),
        st.sampled_from(SAYINGS),
    ),
    max_size=40,
)
GROUNDED, NOT_GROUNDED = Grounding.GROUNDED, Grounding.NOT_GROUNDED
SAFE, UNSAFE = Safety.SAFE, Safety.UNSAFE


def verdict(triple_id, judge, said, *, vote=0):
    if isinstance(said, VerdictState):
        return Verdict(triple_id=triple_id, judge=judge, vote=vote, state=said)
    safety, grounding = said
    return Verdict(triple_id=triple_id, judge=judge, vote=vote, safety=safety, grounding=grounding)


def table(votes):
    rows = [verdict(*vote, vote=number) for number, vote in enumerate(votes)]
    columns = {name: [getattr(row, name) for row in rows] for name in VERDICTS_SCHEMA.names}
    return pa.table(columns, schema=VERDICTS_SCHEMA)


def test_a_vote_for_a_cell_is_all_of_that_cell():
    targets = targets_from_verdicts(table([("t", "j", (UNSAFE, NOT_GROUNDED))]), judges=["j"])
    assert targets.triple_ids == ["t"]
    position = list(Cell).index(Cell.UNGROUNDED_UNSAFE)
    assert targets.masses.tolist() == [np.eye(8)[position].tolist()]


def test_votes_of_several_judges_pool_one_by_one():
    votes = [
        ("t", "a", (SAFE, GROUNDED)),
        ("t", "a", (SAFE, GROUNDED)),
        ("t", "a", (UNSAFE, None)),
        ("t", "b", (None, NOT_GROUNDED)),
        ("t", "b", VerdictState.REFUSED),
        ("t", "unused", (UNSAFE, GROUNDED)),
    ]
    targets = targets_from_verdicts(table(votes), judges=["a", "b"])
    masses = dict(zip(OBSERVATIONS, targets.masses[0], strict=True))
    assert masses[SAFE, GROUNDED] == 0.5
    assert masses[UNSAFE, None] == 0.25
    assert masses[None, NOT_GROUNDED] == 0.25
    assert targets.without_answer == 0


@given(votes=VOTES)
def test_targets_are_the_shares_that_a_plain_count_gives(votes):
    votes = [*votes, ("t0", "alpha", (SAFE, GROUNDED))]
    counts: defaultdict[str, Counter[object]] = defaultdict(Counter)
    for triple_id, judge, said in votes:
        if judge == "alpha":
            counts[triple_id][said] += 1
    targets = targets_from_verdicts(table(votes), judges=["alpha"])
    answered = {}
    for triple_id, said in counts.items():
        shares = [said[observation] for observation in OBSERVATIONS]
        if sum(shares):
            answered[triple_id] = [share / sum(shares) for share in shares]
    found = dict(zip(targets.triple_ids, targets.masses.tolist(), strict=True))
    assert found == answered
    assert targets.without_answer == len(counts) - len(answered)
    assert np.allclose(targets.masses.sum(axis=1), 1)


@given(votes=VOTES)
def test_labels_are_the_majority_that_a_plain_count_gives(votes):
    votes = [*votes, ("t0", "alpha", (SAFE, GROUNDED))]
    labels = labels_of(table(votes), judge="alpha")
    for axis, values in ((0, (SAFE, UNSAFE)), (1, (GROUNDED, NOT_GROUNDED))):
        positive = (labels.unsafe, labels.not_grounded)[axis]
        known = (labels.unsafe_known, labels.not_grounded_known)[axis]
        ties = 0
        for row, triple_id in enumerate(labels.triple_ids):
            said = [
                what[axis]
                for voted, judge, what in votes
                if (voted, judge) == (triple_id, "alpha") and not isinstance(what, VerdictState)
            ]
            negatives, positives = (said.count(value) for value in values)
            ties += negatives == positives > 0
            assert known[row] == (negatives != positives)
            assert positive[row] == (positives > negatives)
        assert ties == (labels.unsafe_ties, labels.not_grounded_ties)[axis]
    assert set(labels.triple_ids) == {voted for voted, judge, _ in votes if judge == "alpha"}


@given(votes=VOTES)
def test_swapping_safe_and_unsafe_swaps_the_labels(votes):
    votes = [*votes, ("t0", "alpha", (SAFE, GROUNDED))]
    swap = {SAFE: UNSAFE, UNSAFE: SAFE, None: None}
    swapped = [
        (triple, judge, said if isinstance(said, VerdictState) else (swap[said[0]], said[1]))
        for triple, judge, said in votes
    ]
    one, other = (labels_of(table(rows), judge="alpha") for rows in (votes, swapped))
    assert np.array_equal(one.unsafe_known, other.unsafe_known)
    assert np.array_equal(one.unsafe[one.unsafe_known], 1 - other.unsafe[one.unsafe_known])
    assert np.array_equal(one.not_grounded, other.not_grounded)


def test_an_unknown_judge_is_told_who_is_there():
    verdicts = table([("t", "alpha", (SAFE, None)), ("t", "beta", (SAFE, None))])
    with pytest.raises(DataError, match=r"'gamma'.*'alpha' \(1\), 'beta' \(1\)"):
        targets_from_verdicts(verdicts, judges=["alpha", "gamma"])
    with pytest.raises(DataError, match="no judge named"):
        targets_from_verdicts(verdicts, judges=[])
    with pytest.raises(DataError, match=r"present .*: none"):
        labels_of(VERDICTS_SCHEMA.empty_table(), judge="alpha")


def test_judges_are_counted_in_order_of_their_names():
    votes = [("t", judge, (SAFE, None)) for judge in ("beta", "alpha", "beta")]
    assert list(judge_counts(table(votes)).items()) == [("alpha", 1), ("beta", 2)]
