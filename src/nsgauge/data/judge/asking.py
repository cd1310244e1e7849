"""The run itself: many questions at a time, each answer on disk before anything else happens."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nsgauge.data.judge.budget import Budget, Tokens, billed
from nsgauge.data.judge.cache import AnswerCache, Asked
from nsgauge.data.judge.cases import Cases
from nsgauge.data.judge.client import Client, ComplaintError, EntryError, QuestionError
from nsgauge.data.judge.estimate import Call
from nsgauge.data.judge.pictures import Pictures
from nsgauge.data.judge.question import Question, messages
from nsgauge.data.judge.throttle import Throttle
from nsgauge.errors import ImageError, JudgeError

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0


class End(StrEnum):
    """Why a run ended."""

    DONE = "done"
    MAX_CALLS = "max_calls"
    MAX_COST = "max_cost"
    INTERRUPTED = "interrupted"
    ENDPOINT_DOWN = "endpoint_down"
    """Too many questions in a row were given up."""
    ENTRY_REFUSED = "entry_refused"
    """The server takes no question at all."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done: Questions answered or given up.
        total: All that the run was to ask.
        failed: Of those done, given up.
        cost: Of the answers so far, in the price's currency.
        at_a_time: Questions that may be under way at once now.
    """

    done: int
    total: int
    failed: int
    cost: float
    at_a_time: int


class Asking:
    """Asks calls until they are done or something ends it.

    Args:
        cases: Who is asked, what, and the limits.
        cache: Gets every answer.
        pictures: Of the data folder.
        progress: Called after every answer.
        jitter: Of the waits between attempts.
    """

    def __init__(
        self,
        cases: Cases,
        *,
        cache: AnswerCache,
        pictures: Pictures,
        progress: Callable[[Progress], None],
        jitter: random.Random,
    ) -> None:
        self.budget = Budget(cases.recipe)
        """What was spent."""
        self.failures: dict[tuple[str, int], str] = {}
        """What went wrong with the questions that were given up, by key and vote."""
        self.end = End.DONE
        """Why it ended."""
        self.last_error = ""
        """What the server said last when it failed."""
        self._cases = cases
        self._limits = cases.recipe.limits
        self._cache = cache
        self._pictures = pictures
        self._progress = progress
        self._jitter = jitter
        self._throttle = Throttle(most=cases.recipe.limits.concurrency)
        self._workers: list[asyncio.Task[None]] = []
        self._requesting: set[asyncio.Task[None] | None] = set()
        self._settled = asyncio.Event()
        self._done = 0
        self._total = 0
        self._given_up_in_a_row = 0

    async def run(self, calls: Sequence[Call], *, client: Client) -> None:
        """Ask all calls, or as many as may be."""
        self._total = len(calls)
        waiting = iter(calls)
        count = min(self._limits.concurrency, len(calls))
        self._workers = [asyncio.create_task(self._work(waiting, client)) for _ in range(count)]
        try:
            found = await asyncio.gather(*self._workers, return_exceptions=True)
        finally:
            for worker in self._workers:
                worker.cancel()
        for outcome in found:
            if isinstance(outcome, Exception):
                raise outcome

    def stop(self, end: End) -> None:
        """Send nothing more; answers that are on their way are waited for and kept."""
        if self.end is not End.DONE:
            return
        self.end = end
        busy = {*self._requesting, asyncio.current_task()}
        for worker in self._workers:
            if worker not in busy:
                worker.cancel()

    def abandon(self) -> None:
        """Don't even wait for the answers that are on their way."""
        self.stop(End.INTERRUPTED)
        for worker in self._workers:
            worker.cancel()

    async def _work(self, waiting: Iterator[Call], client: Client) -> None:
        for call in waiting:
            if self.end is not End.DONE:
                return
            try:
                await self._settle(call, client=client)
            except (OSError, JudgeError):
                # A full disk: the answers that are on their way couldn't be kept either.
                self.abandon()
                raise

    async def _settle(self, call: Call, *, client: Client) -> None:
        """Ask until there is an answer, or it is given up."""
        try:
            chat = await self._chat(call.question)
            for attempt in range(self._limits.retries + 1):
                if attempt:
                    await asyncio.sleep(self._wait(attempt))
                if await self._attempt(call, chat=chat, client=client):
                    return
                if self.end is not End.DONE:
                    return
            self._give_up(call, reason=self.last_error)
        except ImageError as error:
            self._fail(call, reason=str(error))
        except QuestionError as error:
            # Until one is answered, it may be every question that the server can't take.
            give_up = self._fail if self.budget.tokens.sent else self._give_up
            give_up(call, reason=str(error))
        except EntryError as error:
            self.last_error = str(error)
            self.stop(End.ENTRY_REFUSED)

    async def _attempt(self, call: Call, *, chat: list[dict[str, object]], client: Client) -> bool:
        """Ask once; whether there is an answer now."""
        async with self._throttle.turn() as begun:
            if not await self._afforded(call.estimate):
                return False
            worker = asyncio.current_task()
            spent: Tokens | None = None
            self._requesting.add(worker)
            try:
                reply = await client.ask(
                    chat, vote=call.vote, identity=f"{call.question.key}-{call.vote}"
                )
                self._cache.add(self._asked(call), reply=reply)
                spent = billed(reply, estimate=call.estimate)
            except ComplaintError as error:
                self.last_error = str(error)
                spent = call.estimate if error.may_be_billed else None
                self._throttle.complained(begun=begun, pause=error.pause)
                return False
            finally:
                self._requesting.discard(worker)
                self.budget.release(call.estimate, spent=spent)
                self._settled.set()
        self._throttle.succeeded()
        self._given_up_in_a_row = 0
        self._advance()
        return True

    async def _afforded(self, estimate: Tokens) -> bool:
        """Wait until the budget allows the call, and take it from there; False if it never will."""
        while (limit := self.budget.exhausted(estimate)) is not None:
            if limit == End.MAX_CALLS or not self.budget.may_recover:
                self.stop(End(limit))
                return False
            self._settled.clear()
            await self._settled.wait()
        self.budget.hold(estimate)
        return True

    async def _chat(self, question: Question) -> list[dict[str, object]]:
        uri = None if question.image is None else await self._pictures.data_uri(question.image)
        detail = self._cases.recipe.picture.detail
        return messages(question, prompt=self._cases.prompt, picture=uri, detail=detail)

    def _asked(self, call: Call) -> Asked:
        return Asked(
            key=call.question.key,
            vote=call.vote,
            judge=self._cases.judge,
            prompt_hash=self._cases.prompt.prompt_hash,
            image_digest=call.question.image_digest,
        )

    def _wait(self, attempt: int) -> float:
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
        return self._jitter.uniform(longest / 2, longest)

    def _give_up(self, call: Call, *, reason: str) -> None:
        """The endpoint failed on a question, as it may on all others."""
        self._given_up_in_a_row += 1
        if self._given_up_in_a_row >= self._limits.failures_in_a_row:
            self.stop(End.ENDPOINT_DOWN)
        self._fail(call, reason=reason)

    def _fail(self, call: Call, *, reason: str) -> None:
        self.failures[call.question.key, call.vote] = reason
        self.last_error = reason
        self._advance()

    def _advance(self) -> None:
        self._done += 1
        self._progress(
            Progress(
                done=self._done,
                total=self._total,
                failed=len(self.failures),
                cost=self.budget.cost,
                at_a_time=self._throttle.limit,
            )
        )
