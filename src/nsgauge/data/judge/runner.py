"""Judging a data folder: the run, the verdicts, and the record of it."""

import asyncio
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nsgauge.data.judge.asking import Asking, End, Progress
from nsgauge.data.judge.budget import Tokens
from nsgauge.data.judge.cache import only_run, opened
from nsgauge.data.judge.cases import Cases, cases_of
from nsgauge.data.judge.client import connected
from nsgauge.data.judge.estimate import Call, answers_wanted, missing_calls
from nsgauge.data.judge.pictures import Pictures
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.judge.record import record_run
from nsgauge.data.judge.verdicts import check_judge_is_free, merge_verdicts, verdicts_on
from nsgauge.errors import JudgeError

_FAULTS = (End.ENDPOINT_DOWN, End.ENTRY_REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRun:
    """What a run did.

    Attributes:
        judge: The name on the verdicts.
        triples: That were to be asked about.
        left_out: Triples that weren't, by reason.
        kept: Answers that were there already.
        answers: Answers that this run bought.
        calls: Requests that it sent.
        unasked: Answers that are still wanted.
        states: The judge's verdicts on these triples by state.
        tokens: Of the answers bought.
        cost: Likewise, in the price's currency; None without a price.
        currency: Of the price.
        end: Why it ended.
        last_error: What the server said last when it failed; empty if it never did.
        seconds: How long it took.
    """

    judge: str
    triples: int
    left_out: dict[str, int]
    kept: int
    answers: int
    calls: int
    unasked: int
    states: dict[str, int]
    tokens: Tokens
    cost: float | None
    currency: str
    end: End
    last_error: str
    seconds: float


def judge_folder(
    data: Path,
    *,
    recipe: JudgeRecipe,
    answers: Path,
    plan: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> JudgeRun:
    """Ask a judge about a data folder and put its verdicts in; a run that was stopped goes on.

    Args:
        data: The folder.
        recipe: Who is asked what, and the limits.
        answers: The file that keeps every answer, for all folders and judges.
        plan: Only these triples; all that have an answer without it.
        progress: Called after every answer.

    Raises:
        SettingsError: the recipe's prompt isn't one, or a key is missing.
        DataError: the folder or the plan can't be read, or the judge's name is taken there.
        JudgeError: `answers` isn't a file of answers or in use, or the endpoint fails; the answers
            up to then are kept, and are verdicts in the folder.
    """
    begun = datetime.now(UTC)
    cases = cases_of(data, recipe=recipe, plan=plan)
    check_judge_is_free(data, cases=cases)
    with only_run(answers, judge=cases.judge), opened(answers) as cache:
        calls = missing_calls(cases, cache=cache)
        asking = Asking(
            cases,
            cache=cache,
            pictures=Pictures(data, longest_side_px=recipe.picture.longest_side_px),
            progress=progress,
            # Waits differ so that clients don't come back all at once; no result depends on them.
            jitter=random.Random(),  # noqa: S311
        )
        if calls:
            asyncio.run(_ask(asking, cases=cases, calls=calls))
        verdicts = verdicts_on(cases, cache=cache, failures=asking.failures)
        unasked = len(missing_calls(cases, cache=cache))
    merge_verdicts(data, verdicts=verdicts)
    run = JudgeRun(
        judge=cases.judge,
        triples=len(cases.questions),
        left_out=cases.left_out,
        kept=answers_wanted(cases) - len(calls),
        answers=len(calls) - unasked,
        calls=asking.budget.calls,
        unasked=unasked,
        states=dict(sorted(Counter(str(verdict.state) for verdict in verdicts).items())),
        tokens=asking.budget.tokens,
        cost=None if recipe.price is None else asking.budget.cost,
        currency="" if recipe.price is None else recipe.price.currency,
        end=asking.end,
        last_error=asking.last_error,
        seconds=(datetime.now(UTC) - begun).total_seconds(),
    )
    record_run(data, run=run, cases=cases, begun=begun, plan=plan)
    if run.end in _FAULTS:
        raise JudgeError(
            f"{run.judge}: {run.last_error}; {run.answers} answers are kept, {run.unasked} are "
            "missing: mend the endpoint and run the same command again"
        )
    return run


async def _ask(asking: Asking, *, cases: Cases, calls: list[Call]) -> None:
    async with connected(cases.recipe, prompt=cases.prompt) as client:
        with _stopped_by_signals(asking):
            await asking.run(calls, client=client)


@contextmanager
def _stopped_by_signals(asking: Asking) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run with every answer that was paid for; twice, at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    stops = iter((lambda: asking.stop(End.INTERRUPTED),))

    def stop() -> None:
        next(stops, asking.abandon)()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
