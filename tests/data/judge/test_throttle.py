"""The throttle in virtual time: a loop whose clock jumps to whatever comes next."""

import asyncio
import selectors

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsgauge.data.judge.throttle import Throttle


class _Jumping(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout=None):
        assert timeout is not None, "everybody waits for ever"
        self.now += timeout
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self):
        return self._jumping.now


def run(coroutine):
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(coroutine)


def now():
    return asyncio.get_running_loop().time()


class Shop:
    """A server that takes `capacity` questions at a time, a second each, and complains of more."""

    def __init__(self, throttle, *, capacity, pause=None):
        self.throttle = throttle
        self.capacity = capacity
        self.pause = pause
        self.busy = self.busiest = self.complaints = 0
        self.entered: list[float] = []
        self.by_second: dict[int, int] = {}

    async def ask(self):
        """Ask until it answers."""
        while not await self._once():
            pass

    async def _once(self):
        async with self.throttle.turn() as begun:
            assert begun == now()
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
            self.entered.append(begun)
            self.by_second[int(begun)] = self.by_second.get(int(begun), 0) + 1
            over = self.busy > self.capacity
            try:
                await asyncio.sleep(0.01 if over else 1)
            finally:
                self.busy -= 1
            if over:
                self.complaints += 1
                self.throttle.complained(begun=begun, pause=self.pause)
                return False
        self.throttle.succeeded()
        return True


async def serve(shop, *, questions, workers=200):
    waiting = iter(range(questions))

    async def work():
        for _ in waiting:
            await shop.ask()

    await asyncio.gather(*(work() for _ in range(workers)))
    return now()


@settings(max_examples=30)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 60),
    st.sampled_from([None, 0.0, 0.5, 7.0]),
)
def test_never_more_than_the_most_at_a_time_and_all_get_through(most, capacity, questions, pause):
    throttle = Throttle(most=most)
    shop = Shop(throttle, capacity=capacity, pause=pause)
    run(serve(shop, questions=questions, workers=50))
    assert shop.busiest <= most
    assert shop.busy == 0
    assert len(shop.entered) - shop.complaints == questions
    assert 1 <= throttle.limit <= most


def test_it_doubles_until_the_server_complains():
    shop = Shop(Throttle(most=64), capacity=1000)
    run(serve(shop, questions=400))
    first = [shop.by_second[second] for second in range(6)]
    assert first == [4, 8, 16, 32, 64, 64]


def test_it_settles_near_what_the_server_takes():
    shop = Shop(Throttle(most=200), capacity=20)
    took = run(serve(shop, questions=2000))
    # At best 20 a second; sawing between half and all of it, three quarters.
    assert 2000 / 20 <= took <= 2000 / (20 * 0.6)
    assert shop.complaints < 0.15 * 2000


def test_one_burst_of_complaints_halves_it_once():
    async def burst():
        throttle = Throttle(most=16)
        for _ in range(12):
            throttle.succeeded()
        assert throttle.limit == 16
        begun = [now()] * 16
        await asyncio.sleep(1)
        for moment in begun:
            throttle.complained(begun=moment, pause=None)
        assert throttle.limit == 8
        throttle.complained(begun=now(), pause=None)
        assert throttle.limit == 8
        await asyncio.sleep(1)
        throttle.complained(begun=now(), pause=None)
        assert throttle.limit == 4

    run(burst())


def test_after_a_complaint_it_grows_by_one_a_round():
    async def rounds():
        throttle = Throttle(most=64)
        for _ in range(28):
            throttle.succeeded()
        throttle.complained(begun=now(), pause=None)
        assert throttle.limit == 16
        for limit in (17, 18, 19):
            for _ in range(limit):
                throttle.succeeded()
            assert throttle.limit == limit

    run(rounds())


def test_it_never_falls_below_one():
    async def fall():
        throttle = Throttle(most=8)
        for _ in range(10):
            await asyncio.sleep(1)
            throttle.complained(begun=now(), pause=None)
        assert throttle.limit == 1
        async with throttle.turn():
            pass

    run(fall())


@pytest.mark.parametrize("pauses", [[30.0], [30.0, 5.0], [5.0, 30.0]])
def test_a_pause_holds_for_all_and_the_longest_wins(pauses):
    throttle = Throttle(most=50)
    shop = Shop(throttle, capacity=1000)

    async def complain():
        await asyncio.sleep(2.5)
        for pause in pauses:
            throttle.complained(begun=now(), pause=pause)

    async def both():
        await asyncio.gather(serve(shop, questions=300), complain())

    run(both())
    assert not [moment for moment in shop.entered if 2.5 < moment < 32.5]
    assert max(shop.entered) >= 32.5


def test_a_pause_holds_even_for_those_who_are_just_waking():
    async def crowd():
        throttle = Throttle(most=4)
        entered = []

        async def ask(number):
            async with throttle.turn() as begun:
                entered.append(begun)
                await asyncio.sleep(1)
                if number < 4:
                    return
            await asyncio.sleep(0)

        async def complain():
            await asyncio.sleep(1)
            # Those that wait wake up one after the other; the complaint comes in between.
            for _ in range(3):
                await asyncio.sleep(0)
            throttle.complained(begun=now(), pause=10.0)
            return len(entered)

        found = await asyncio.gather(complain(), *(ask(number) for number in range(60)))
        assert len([moment for moment in entered if moment < 11]) == found[0]

    run(crowd())


def test_a_turn_that_fails_or_is_cancelled_is_given_back():
    async def losses():
        throttle = Throttle(most=1)
        with pytest.raises(ValueError, match="lost"):
            async with throttle.turn():
                raise ValueError("lost")
        async with throttle.turn():
            waiting = asyncio.create_task(throttle.turn().__aenter__())
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1), throttle.turn():
            pass

    run(losses())
