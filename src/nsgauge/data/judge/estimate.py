"""What a run would ask and cost, before anything is sent."""

from dataclasses import dataclass
from pathlib import Path

from nsgauge.data.judge.budget import Tokens, picture_tokens, text_tokens
from nsgauge.data.judge.cache import AnswerCache, opened
from nsgauge.data.judge.cases import Cases, cases_of
from nsgauge.data.judge.question import Question, messages
from nsgauge.data.judge.recipe import JudgeRecipe


@dataclass(frozen=True, slots=True)
class Call:
    """One answer wanted.

    Attributes:
        question: To what.
        vote: Which of several.
        estimate: Tokens that it takes at most.
    """

    question: Question
    vote: int
    estimate: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would ask.

    Attributes:
        judge: The name that the verdicts will have.
        prompt_hash: Of the instructions.
        triples: That are asked about.
        left_out: Triples that aren't, by reason.
        kept: Answers that are there already.
        calls: Answers that are wanted: one for each vote on each distinct question.
        tokens: At most, of all calls.
        cost: At most, in the price's currency; None without a price.
        currency: Of the price.
    """

    judge: str
    prompt_hash: str
    triples: int
    left_out: dict[str, int]
    kept: int
    calls: int
    tokens: Tokens
    cost: float | None
    currency: str


def estimate_folder(
    data: Path, *, recipe: JudgeRecipe, answers: Path, plan: Path | None = None
) -> Estimate:
    """Say what judging a folder would take; nothing is sent.

    Args:
        data: The folder.
        recipe: Who would be asked what.
        answers: The file of answers.
        plan: Only these triples; all that have an answer without it.

    Raises:
        SettingsError: the recipe's prompt isn't one.
        DataError: the folder or the plan can't be read.
        JudgeError: `answers` isn't a file of answers.
    """
    cases = cases_of(data, recipe=recipe, plan=plan)
    with opened(answers) as cache:
        calls = missing_calls(cases, cache=cache)
    price = recipe.price
    tokens = Tokens(
        sum(call.estimate.sent for call in calls), sum(call.estimate.received for call in calls)
    )
    return Estimate(
        judge=cases.judge,
        prompt_hash=cases.prompt.prompt_hash,
        triples=len(cases.questions),
        left_out=cases.left_out,
        kept=answers_wanted(cases) - len(calls),
        calls=len(calls),
        tokens=tokens,
        cost=None if price is None else tokens.cost(price),
        currency="" if price is None else price.currency,
    )


def answers_wanted(cases: Cases) -> int:
    """One for each vote on each distinct question: triples that read the same share answers."""
    return len({question.key for question in cases.questions}) * cases.recipe.votes


def missing_calls(cases: Cases, *, cache: AnswerCache) -> list[Call]:
    """The answers that are wanted and not there."""
    distinct = {question.key: question for question in cases.questions}
    return [
        Call(question, vote=vote, estimate=_tokens(question, cases=cases))
        for question in distinct.values()
        for vote in range(cases.recipe.votes)
        if not cache.has(question.key, vote=vote)
    ]


def _tokens(question: Question, *, cases: Cases) -> Tokens:
    chat = messages(question, prompt=cases.prompt, picture=None, detail="auto")
    sent = sum(text_tokens(message["content"]) for message in chat)
    picture = 0 if question.image is None else picture_tokens(cases.recipe)
    return Tokens(sent + picture, cases.recipe.sampling.max_tokens)
