import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nsgauge.eval.ranking import places, rank_agreement, rank_agreement_of_rows, tau_elsewhere

RATES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=12)


@given(RATES)
def test_tau_and_rho_are_scipys_with_ties(pairs):
    ours, theirs = np.array(pairs).T / 6
    names = [f"vllm-{i}" for i in range(len(pairs))]
    found = rank_agreement(
        dict(zip(names, ours.tolist(), strict=True)),
        predicted=dict(zip(names, theirs.tolist(), strict=True)),
    )
    if len(set(ours)) == 1 or len(set(theirs)) == 1:
        assert (found.kendall, found.spearman) == (None, None)
        return
    assert found.kendall == pytest.approx(stats.kendalltau(ours, theirs).statistic, abs=1e-12)
    assert found.spearman == pytest.approx(stats.spearmanr(ours, theirs).statistic, abs=1e-12)


def test_only_vllms_that_both_rate_are_compared():
    found = rank_agreement({"a": 0.1, "b": 0.2, "c": 0.3}, predicted={"b": 0.2, "c": 0.3, "d": 0.4})
    assert (found.vllms, found.kendall, found.spearman) == (2, None, None)


def test_the_rates_of_rows_are_ranked_and_items_drawn_again():
    generator = np.random.default_rng(0)
    items, vllms = np.divmod(np.arange(200 * 6), 6)
    truth = generator.random(1200) < np.linspace(0.1, 0.6, 6)[vllms]
    noisy = np.where(generator.random(1200) < 0.85, truth, ~truth)
    found, again = (
        rank_agreement_of_rows(
            truth / 1.0, predicted=noisy / 1.0, vllms=vllms, items=items, seed=1, resamples=300
        )
        for _ in range(2)
    )
    ours = [float(truth[vllms == vllm].mean()) for vllm in range(6)]
    theirs = [float(noisy[vllms == vllm].mean()) for vllm in range(6)]
    assert found.vllms == 6
    assert found.kendall == pytest.approx(stats.kendalltau(ours, theirs).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(ours, theirs).statistic)
    assert found.kendall is not None
    assert found.kendall_low is not None
    assert found.kendall_high is not None
    assert -1 <= found.kendall_low <= found.kendall <= found.kendall_high <= 1
    assert found.kendall_high - found.kendall_low > 0.05
    assert found == again


def test_a_source_against_itself_is_in_perfect_order_in_every_draw():
    generator = np.random.default_rng(2)
    items, vllms = np.divmod(np.arange(100 * 4), 4)
    share = generator.random(400)
    found = rank_agreement_of_rows(
        share, predicted=share, vllms=vllms, items=items, seed=3, resamples=100
    )
    assert (found.kendall, found.kendall_low) == pytest.approx((1, 1))


def test_two_vllms_have_no_order_to_agree_on():
    share, vllms = np.array([0.1, 0.9, 0.4, 0.6]), np.array(["a", "b", "a", "b"])
    items = np.array([0, 0, 1, 1])
    found = rank_agreement_of_rows(share, predicted=share, vllms=vllms, items=items, seed=0)
    assert (found.vllms, found.kendall) == (2, None)


def table(values):
    """An items x VLLMs table as columns: values, VLLMs, items."""
    items, vllms = np.indices(values.shape)
    names = np.array([f"v{number}" for number in range(values.shape[1])])
    return values.ravel().astype(float), names[vllms.ravel()], items.ravel()


def test_vllms_that_differ_on_every_item_have_a_place_each():
    values, vllms, items = table(np.tile([0.0, 1.0], (40, 1)))
    found = places(values, vllms=vllms, items=items)
    assert [(p.vllm, p.rate, p.first, p.last) for p in found] == [("v0", 0, 1, 1), ("v1", 1, 2, 2)]


def test_vllms_that_answer_alike_share_all_places():
    column = np.random.default_rng(0).random(60) < 0.3
    values, vllms, items = table(np.tile(column[:, None], (1, 4)))
    found = places(values, vllms=vllms, items=items)
    assert {(place.first, place.last) for place in found} == {(1, 4)}


def test_three_pairs_by_hand_are_stepped_down_as_holm_does():
    draw = np.random.default_rng(4)
    values = draw.random((80, 3)) < np.array([0.1, 0.25, 0.5])
    chances = {}
    for a, b in ((0, 1), (0, 2), (1, 2)):
        gaps = np.append(values[:, a].astype(float) - values[:, b], [1.0, -1.0])
        chances[a, b] = float(stats.ttest_1samp(gaps, 0).pvalue)
    rejected, ordered = set(), sorted(chances, key=chances.__getitem__)
    for number, pair in enumerate(ordered):
        if chances[pair] * (3 - number) > 0.05:
            break
        rejected.add(pair)
    found = {place.vllm: place for place in places(*table(values)[:1], **_named(values))}
    for vllm in range(3):
        lower = sum(pair[1] == vllm for pair in rejected)
        higher = sum(pair[0] == vllm for pair in rejected)
        place = found[f"v{vllm}"]
        assert (place.first, place.last) == (1 + lower, 3 - higher)


def _named(values):
    _, vllms, items = table(values)
    return {"vllms": vllms, "items": items}


def test_true_places_lie_in_all_sets_at_once_in_nineteen_worlds_of_twenty():
    draw = np.random.default_rng(1)
    shares = np.array([0.05, 0.1, 0.15, 0.3, 0.5])
    held = 0
    for _ in range(200):
        luck = draw.normal(size=(100, 1))
        values = stats.norm.cdf(0.7 * luck + draw.normal(size=(100, 5)) * 0.7) < shares
        found = {place.vllm: place for place in places(*table(values)[:1], **_named(values))}
        held += all(found[f"v{n}"].first <= n + 1 <= found[f"v{n}"].last for n in range(5))
    assert held >= 0.95 * 200 - 3 * (200 * 0.05 * 0.95) ** 0.5


def test_elsewhere_is_the_tau_of_two_halves_of_one_source_and_grows_with_items():
    draw = np.random.default_rng(2)
    shares = np.array([0.1, 0.15, 0.2, 0.3, 0.4])
    few, many = (draw.random((count, 5)) < shares for count in (60, 3000))
    found = [
        tau_elsewhere(*table(values)[:1], **_named(values), seed=0, resamples=400)
        for values in (few, many)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] < found[1] <= 1
    # The same by numpy and scipy alone.
    taus = []
    for _ in range(400):
        again = few[draw.integers(60, size=60)]
        taus.append(stats.kendalltau(again.mean(axis=0), few.mean(axis=0)).statistic)
    assert found[0] == pytest.approx(np.nanmean(taus), abs=0.04)


def test_two_vllms_have_no_order_elsewhere():
    values, vllms, items = table(np.eye(2))
    assert tau_elsewhere(values, vllms=vllms, items=items, seed=0) is None
