"""Writes the answers of the sample world's invented VLLMs.

An answer has a reading (which look-alike it takes the picture for) and an attitude. Its words are
drawn from the reading and the attitude alone, never from the picture's truth, so that the words
don't tell whether the reading is right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TypeVar

from nsgauge.data.sample.kinds import KINDS, Family, Kind, Variant
from nsgauge.data.sample.phrases import (
    BARE,
    GOING_AHEAD,
    NAMED_READINGS,
    PASTIME,
    PHRASES,
    PLAIN_REFUSALS,
)

Choice = TypeVar("Choice")


class Attitude(StrEnum):
    """What an answer does with its reading."""

    HELP = "help"
    WARN = "warn"
    REFUSE = "refuse"
    DESCRIBE = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vllm:
    """An invented VLLM.

    Attributes:
        name: As it stands in `Triple.vllm`.
        misreading_share: Share of its answers that take a picture for the look-alike.
        harmful_help_share: Share of its answers that help after reading harm.
    """

    name: str
    misreading_share: float
    harmful_help_share: float


# The two shares are uncorrelated over the four, so that help after reading harm, which the words
# show, doesn't tell how often the reading is wrong.
VLLMS: tuple[Vllm, ...] = (
    Vllm(name="aster-34b", misreading_share=0.15, harmful_help_share=0.38),
    Vllm(name="birch-13b", misreading_share=0.30, harmful_help_share=0.10),
    Vllm(name="cedar-7b", misreading_share=0.45, harmful_help_share=0.15),
    Vllm(name="dune-2b", misreading_share=0.60, harmful_help_share=0.37),
)

_AFTER_BENIGN: dict[Attitude, float] = {
    Attitude.HELP: 0.78,
    Attitude.DESCRIBE: 0.17,
    Attitude.REFUSE: 0.05,
}
"""What follows on reading no harm."""
_AFTER_HARMFUL: dict[Attitude, float] = {
    Attitude.WARN: 0.55,
    Attitude.REFUSE: 0.30,
    Attitude.DESCRIBE: 0.15,
}
"""What follows on reading harm, of the answers that don't help all the same."""

_BARE_SHARE = 0.04
"""Share of the answers with one of `_BARE_ATTITUDES` that are one word."""
_BARE_ATTITUDES = {Variant.HARMFUL: Attitude.REFUSE, Variant.BENIGN: Attitude.HELP}
_PLAIN_REFUSAL_SHARE = 0.5
"""Share of the refusals after reading harm that don't say what they read."""
_NAMED_SHARE = 0.75
"""Share of the other answers that name the kind of thing they see."""
_HALLUCINATED_SHARE = 0.15
"""Share of the misreadings with a named kind that name another kind of the family."""

_ADVICE_COUNTS: dict[int, float] = {1: 0.58, 2: 0.24, 3: 0.08, 5: 0.10}
"""How many sentences of advice, and how often."""
_LONG_SHARE = 0.02
_LONG_WORDS = (300, 480)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer and what it is.

    Attributes:
        text: The words.
        reading: Which look-alike it takes the picture for.
        attitude: What it does then.
        hallucinated: It sees another kind of thing altogether.
    """

    text: str
    reading: Variant
    attitude: Attitude
    hallucinated: bool


def write_answer(kind: Kind, *, reading: Variant, misread: bool, vllm: Vllm, rng: Random) -> Answer:
    """One answer to a picture of `kind`.

    Args:
        kind: What the picture shows.
        reading: Which look-alike the answer takes it for.
        misread: Whether that is wrong; only such answers may hallucinate.
        vllm: Who answers.
        rng: Attitude, words and length are drawn from it.
    """
    attitude = _attitude(reading, vllm=vllm, rng=rng)
    short = _short_text(reading, attitude=attitude, rng=rng)
    if short is not None:
        return Answer(text=short, reading=reading, attitude=attitude, hallucinated=False)
    named = rng.random() < _NAMED_SHARE
    hallucinated = named and misread and rng.random() < _HALLUCINATED_SHARE
    seen = _another(kind, rng=rng) if hallucinated else kind
    opening = _opening(seen, reading=reading, named=named, rng=rng)
    advice = _advice(kind.family, reading=reading, attitude=attitude, rng=rng)
    text = " ".join([opening, *advice])
    return Answer(text=text, reading=reading, attitude=attitude, hallucinated=hallucinated)


def _attitude(reading: Variant, *, vllm: Vllm, rng: Random) -> Attitude:
    if reading is Variant.BENIGN:
        return _drawn(_AFTER_BENIGN, rng=rng)
    if rng.random() < vllm.harmful_help_share:
        return Attitude.HELP
    return _drawn(_AFTER_HARMFUL, rng=rng)


def _drawn(shares: Mapping[Choice, float], *, rng: Random) -> Choice:
    return rng.choices(list(shares), list(shares.values()))[0]


def _short_text(reading: Variant, *, attitude: Attitude, rng: Random) -> str | None:
    """One word, or a refusal without a reading; None where the answer says more."""
    if attitude is _BARE_ATTITUDES[reading] and rng.random() < _BARE_SHARE:
        return BARE[reading]
    harm_refused = reading is Variant.HARMFUL and attitude is Attitude.REFUSE
    if harm_refused and rng.random() < _PLAIN_REFUSAL_SHARE:
        return rng.choice(PLAIN_REFUSALS)
    return None


def _another(kind: Kind, *, rng: Random) -> Kind:
    """Another kind of the same family, which the prompts fit as well."""
    return rng.choice([other for other in KINDS if other.family is kind.family and other != kind])


def _opening(kind: Kind, *, reading: Variant, named: bool, rng: Random) -> str:
    """A sentence that says the reading."""
    if not named:
        return rng.choice(PHRASES[kind.family].readings[reading])
    template = rng.choice(NAMED_READINGS)
    return template.format(name=rng.choice(kind.names[reading]), cue=rng.choice(kind.cues[reading]))


def _advice(family: Family, *, reading: Variant, attitude: Attitude, rng: Random) -> list[str]:
    """Sentences of the attitude; now and then as many as a talkative VLLM's."""
    phrases = PHRASES[family]
    bank = {
        Attitude.HELP: phrases.steps,
        Attitude.WARN: phrases.warnings,
        Attitude.REFUSE: phrases.refusals,
        Attitude.DESCRIBE: phrases.descriptions,
    }[attitude]
    count = _drawn(_ADVICE_COUNTS, rng=rng)
    own = min(count, len(bank))
    sentences = [rng.choice(GOING_AHEAD[reading])] if attitude is Attitude.HELP else []
    sentences += rng.sample(bank, own) + rng.sample(PASTIME, count - own)
    if rng.random() < _LONG_SHARE:
        words = rng.randint(*_LONG_WORDS)
        while sum(len(sentence.split()) for sentence in sentences) < words:
            sentences += rng.sample([*bank, *PASTIME], 3)
    return sentences
