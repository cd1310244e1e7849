import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.judge.budget import Budget, Tokens, billed, picture_tokens, text_tokens
from nsgauge.data.judge.recipe import JudgeRecipe, Price
from nsgauge.data.judge.reply import Reply

PRICE = {"input_per_million": 2.5, "output_per_million": 10.0}


def recipe(**content):
    return JudgeRecipe.from_mapping({"model": "m", **content}, source="test")


def budget(**limits):
    return Budget(recipe(limits=limits, price=PRICE))


def test_cost_is_tokens_times_price():
    price = Price(input_per_million=2.5, output_per_million=10.0)
    assert Tokens(1_000_000, 0).cost(price) == 2.5
    assert Tokens(400, 100).cost(price) == pytest.approx(0.002)
    assert Tokens(400, 100).cost(None) == 0.0
    assert Tokens(1, 2).plus(Tokens(3, 4)).minus(Tokens(1, 1)) == Tokens(3, 5)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("abc", 1), ("abcd", 2), ("\u732b", 2), ("\u732b\u732bab", 4)]
)
def test_text_is_counted_by_its_letters(text, tokens):
    assert text_tokens(text) == tokens


def test_english_takes_fewer_tokens_than_estimated():
    # By hand, as GPT's and CLIP's vocabularies have it: one a word, one a mark.
    text = "The model describes the picture, but it doesn't notice what is wrong with it."
    assert len(text.split()) + 3 <= text_tokens(text)


@pytest.mark.parametrize(
    ("picture", "tokens"),
    [
        # OpenAI's guide: 85 in low detail, 1024 x 1024 in high detail are 765.
        ({"detail": "low"}, 85),
        ({"detail": "high", "longest_side_px": 1024}, 765),
        ({"detail": "auto", "longest_side_px": 512}, 255),
        ({"detail": "auto", "longest_side_px": 513}, 765),
        ({"tokens": 7}, 7),
        ({"tokens": 0}, 0),
    ],
)
def test_a_picture_is_counted_by_its_tiles(picture, tokens):
    assert picture_tokens(recipe(picture=picture)) == tokens


@pytest.mark.parametrize(
    ("sent", "received", "wanted"),
    [
        (5, 7, Tokens(5, 7)),
        (None, 7, Tokens(10, 7)),
        (5, None, Tokens(5, 20)),
        (0, 0, Tokens(0, 0)),
        (None, None, Tokens(10, 20)),
    ],
)
def test_what_the_server_does_not_say_is_billed_as_estimated(sent, received, wanted):
    reply = Reply(content="", finish_reason="stop", input_tokens=sent, output_tokens=received)
    assert billed(reply, estimate=Tokens(10, 20)) == wanted


def test_without_limits_nothing_ends():
    free = Budget(recipe())
    for _ in range(1000):
        assert free.exhausted(Tokens(10**9, 10**9)) is None
        free.hold(Tokens(10**9, 10**9))
    assert free.calls == 1000


def test_calls_are_counted_whether_they_bring_an_answer_or_not():
    spent = budget(max_calls=2)
    for _ in range(2):
        assert spent.exhausted(Tokens(1, 1)) is None
        spent.hold(Tokens(1, 1))
        spent.release(Tokens(1, 1), spent=None)
    assert spent.exhausted(Tokens(1, 1)) == "max_calls"
    assert (spent.cost, spent.tokens) == (0.0, Tokens(0, 0))


def test_what_is_under_way_counts_at_its_estimate_and_then_at_its_bill():
    spent = budget(max_cost=0.01)
    estimate = Tokens(0, 600)
    assert spent.exhausted(estimate) is None
    spent.hold(estimate)
    assert spent.exhausted(estimate) == "max_cost"
    assert spent.may_recover
    spent.release(estimate, spent=Tokens(0, 400))
    assert not spent.may_recover
    assert spent.cost == pytest.approx(0.004)
    assert spent.exhausted(estimate) is None
    assert spent.exhausted(Tokens(0, 601)) == "max_cost"


def test_nothing_is_held_when_all_calls_are_back_however_they_were_mixed():
    rng = random.Random(0)
    spent = Budget(
        recipe(
            price={"input_per_million": 0.15, "output_per_million": 0.6}, limits={"max_cost": 9.0}
        )
    )
    for _ in range(50):
        estimates = [Tokens(rng.randint(1, 3000), rng.randint(1, 700)) for _ in range(30)]
        for estimate in estimates:
            spent.hold(estimate)
        assert spent.may_recover
        rng.shuffle(estimates)
        for estimate in estimates:
            spent.release(estimate, spent=None)
        # Or a run that is out of money would wait for money to come back, for ever.
        assert not spent.may_recover


COUNTS = st.integers(0, 5000)


@given(
    st.lists(st.tuples(COUNTS, COUNTS, st.floats(0, 1), st.booleans()), max_size=40),
    st.integers(1, 20),
    st.floats(1e-4, 0.5),
    st.randoms(use_true_random=False),
)
def test_limits_hold_at_every_moment(calls, max_calls, max_cost, rng):
    spent = budget(max_calls=max_calls, max_cost=max_cost)
    under_way: list[tuple[Tokens, Tokens | None]] = []
    paid = Fraction(0)

    def settle():
        estimate, bill = under_way.pop(rng.randrange(len(under_way)))
        spent.release(estimate, spent=bill)
        return Fraction(0) if bill is None else bill.sent * Fraction(5, 2) + bill.received * 10

    for sent, received, share, fails in calls:
        estimate = Tokens(sent, received)
        bill = None if fails else Tokens(int(sent * share), int(received * share))
        if spent.exhausted(estimate) is None:
            spent.hold(estimate)
            under_way.append((estimate, bill))
        while under_way and rng.random() < 0.5:
            paid += settle()
        assert spent.calls <= max_calls
        assert spent.cost <= max_cost
    while under_way:
        paid += settle()
    assert spent.cost == pytest.approx(float(paid / 10**6))
    assert spent.cost <= max_cost
    assert not spent.may_recover
