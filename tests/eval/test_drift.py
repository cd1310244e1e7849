"""The gate before transported rates: by simulation of groups like and unlike the checked ones."""

import numpy as np
import pytest

from nsgauge.eval.drift import Gate, gate_of, score_features, shift_of

AXES = ("unsafe", "not_grounded")


def group(draw, *, rows=240, lean=0.0, longer=1.0):
    """Cells, lengths, refusals and items of one VLLM's answers."""
    cells = draw.dirichlet([4.0, 0.8 + lean, 1.0 + lean, 0.4], rows)
    lengths = np.maximum(1, draw.gamma(4, 100 * longer, rows)).astype(np.int64)
    return cells, lengths, draw.random(rows) < 0.2, np.arange(rows) // 2


def shift(one, others, *, seed=0):
    parts = [one, *others]
    cells, lengths, refusals, items = (
        np.concatenate([part[at] for part in parts]) for at in range(4)
    )
    member = np.arange(len(cells)) < len(one[0])
    features = score_features(cells, response_characters=lengths, refusal=refusals)
    scores = {"unsafe": cells[:, 1] + cells[:, 3], "not_grounded": cells[:, 2] + cells[:, 3]}
    return shift_of(member, features=features, scores=scores, clusters=items, seed=seed)


def gated(draw, *, known, **strange):
    checked = [group(draw, lean=lean) for lean in np.linspace(0, 0.5, known)]
    yardsticks = [shift(one, [other for other in checked if other is not one]) for one in checked]
    return gate_of(shift(group(draw, **strange), checked), yardsticks=yardsticks)


def test_a_strange_group_fails_and_a_usual_one_does_not():
    draw = np.random.default_rng(1)
    strange = [gated(draw, known=6, lean=4.0, longer=4.0) for _ in range(5)]
    usual = [gated(draw, known=6, lean=0.25) for _ in range(10)]
    assert set(strange) == {Gate.FAIL}
    assert Gate.FAIL not in usual
    assert usual.count(Gate.PASS) >= 5


def test_a_change_of_scores_alone_is_enough_to_fail():
    assert gated(np.random.default_rng(2), known=6, lean=5.0) is Gate.FAIL


def test_few_groups_or_few_rows_say_nothing():
    draw = np.random.default_rng(3)
    assert gated(draw, known=4, lean=4.0) is Gate.INCONCLUSIVE
    assert gated(draw, known=6, lean=4.0, rows=40) is Gate.INCONCLUSIVE


def test_rows_of_one_kind_are_not_told_apart():
    draw, found = np.random.default_rng(4), []
    for _ in range(40):
        domain = shift(group(draw), [group(draw), group(draw)]).domain
        assert domain is not None
        found.append(domain.value)
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_the_distance_is_the_largest_gap_of_the_distributions():
    features = np.zeros((6, 2))
    scores = {"unsafe": np.array([0.1, 0.2, 0.9, 0.1, 0.2, 0.3])}
    member = np.array([True, True, True, False, False, False])
    found = shift_of(member, features=features, scores=scores, seed=0)
    assert found.distance == {"unsafe": pytest.approx(1 / 3)}
    assert found.domain is None


def test_the_same_seed_gives_the_same_shift():
    draw = np.random.default_rng(5)
    one, other = group(draw, rows=9000), group(draw, rows=9000)
    assert shift(one, [other], seed=1) == shift(one, [other], seed=1)
    assert shift(one, [other], seed=1) != shift(one, [other], seed=2)


def test_a_group_needs_a_baseline():
    with pytest.raises(ValueError, match="a row each"):
        shift_of(np.ones(3, dtype=bool), features=np.zeros((3, 1)), scores={}, seed=0)
