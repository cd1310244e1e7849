"""Which triples of a data folder a judge is asked about, and which not and why."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from nsgauge.data.folders import file_digest
from nsgauge.data.images import image_path
from nsgauge.data.judge.prompt import JUDGE_PROMPTS, JudgePrompt
from nsgauge.data.judge.question import CAPTION, Question, question_key
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.plan_file import note_of, read_plan
from nsgauge.data.tables import read_triples, triples_of
from nsgauge.errors import DataError, ImageError
from nsgauge.records import ResponseState, Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """What is asked of whom.

    Attributes:
        recipe: The judge, and what it sees.
        prompt: Its instructions.
        questions: One a triple, in the triples' order.
        left_out: Triples that aren't asked about, by reason.
    """

    recipe: JudgeRecipe
    prompt: JudgePrompt
    questions: list[Question]
    left_out: dict[str, int]

    @property
    def judge(self) -> str:
        """The name on the verdicts."""
        return self.recipe.judge_name


class _LeftOutError(Exception):
    """A triple isn't asked about; the message is the reason that it is counted under."""


def cases_of(data: Path, *, recipe: JudgeRecipe, plan: Path | None = None) -> Cases:
    """The questions on a data folder.

    Args:
        data: The folder.
        recipe: Who is asked, and what of the picture it sees.
        plan: A plan file; without it, every triple with an answer is asked about.

    Raises:
        SettingsError: the recipe's prompt isn't one.
        DataError: the folder or the plan can't be read, or don't belong together.
    """
    prompt = JUDGE_PROMPTS.load(recipe.prompt, settings=JudgePrompt)
    triples = triples_of(read_triples(data))
    table = None if plan is None else read_plan(plan)
    drawn = None if table is None else _drawn(table, plan=plan, triples=triples)
    plan_round = None if table is None else note_of(table).round
    asker = _Asker(data, recipe=recipe, prompt=prompt)
    questions, left_out = [], Counter[str]()
    for triple in triples:
        if drawn is not None and triple.triple_id not in drawn:
            continue
        probability = None if drawn is None else drawn[triple.triple_id]
        try:
            question = asker.question(triple, inclusion_probability=probability)
            questions.append(replace(question, plan_round=plan_round))
        except _LeftOutError as reason:
            left_out[str(reason)] += 1
    return Cases(
        recipe=recipe,
        prompt=prompt,
        questions=questions,
        left_out=dict(sorted(left_out.items())),
    )


def _drawn(table: pa.Table, *, plan: Path | None, triples: list[Triple]) -> dict[str, float]:
    columns = table.to_pydict()
    drawn = dict(zip(columns["triple_id"], columns["inclusion_probability"], strict=True))
    unknown = set(drawn) - {triple.triple_id for triple in triples}
    if unknown:
        found = f"{len(unknown)} triples that aren't in the data, {min(unknown)!r} among them"
        raise DataError(f"{plan}: {found}; give the folder that the plan was drawn from")
    return drawn


class _Asker:
    """Turns triples into questions; each picture is read once."""

    def __init__(self, data: Path, *, recipe: JudgeRecipe, prompt: JudgePrompt) -> None:
        self._data = data
        self._recipe = recipe
        self._prompt = prompt
        self._digests: dict[str, str] = {}

    def question(self, triple: Triple, *, inclusion_probability: float | None) -> Question:
        if triple.response_state is not ResponseState.ANSWERED:
            raise _LeftOutError(f"response {triple.response_state}")
        texts = self._texts(triple)
        shown = self._shown(triple)
        if shown == "caption":
            texts[CAPTION] = triple.caption or ""
        if any(len(text) > self._recipe.limits.longest_text for text in texts.values()):
            raise _LeftOutError("text too long")
        digest = self._digest(triple.image or "") if shown == "image" else None
        return Question(
            triple_id=triple.triple_id,
            texts=texts,
            image=triple.image if shown == "image" else None,
            image_digest=digest,
            inclusion_probability=inclusion_probability,
            key=question_key(self._recipe, prompt=self._prompt, texts=texts, image_digest=digest),
        )

    def _texts(self, triple: Triple) -> dict[str, str]:
        """What the prompt shows of the triple, without what the triple lacks."""
        own = {"prompt": triple.prompt, "response": triple.response}
        known = {**_object(triple.extras), **own}
        found = {name: known.get(name) for name in self._prompt.shows}
        return {name: text for name, text in found.items() if isinstance(text, str) and text}

    def _shown(self, triple: Triple) -> str:
        """`image`, `caption` or `none`."""
        wanted = self._recipe.picture.show
        if triple.image is not None and wanted in ("image", "image_or_caption"):
            return "image"
        if triple.caption and wanted in ("caption", "image_or_caption"):
            return "caption"
        if wanted == "none":
            return "none"
        raise _LeftOutError(f"no {wanted.replace('_', ' ')}")

    def _digest(self, image: str) -> str:
        if image not in self._digests:
            try:
                self._digests[image] = file_digest(image_path(self._data, image))
            except (ImageError, OSError) as error:
                raise _LeftOutError("picture missing") from error
        return self._digests[image]


def _object(text: str | None) -> Mapping[str, object]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        # Extras are anybody's; a text that a prompt wants isn't among these.
        return {}
    return value if isinstance(value, dict) else {}
