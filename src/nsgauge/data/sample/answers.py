"""Writes the answers of the sample world's invented VLLMs.

An answer has a reading (which look-alike it takes the picture for) and an attitude. Its words are
drawn from the reading and the attitude alone, never from the picture's truth, so that the words
don't tell whether the reading is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from nsgauge.data.sample.kinds import KINDS, Kind, Variant
from nsgauge.data.sample.phrases import (
    BARE,
    GOING_AHEAD,
    NAMED_READINGS,
    PASTIME,
    PHRASES,
    PLAIN_REFUSALS,
    Phrases,
)


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

# After reading no harm.
_HELP_SHARE = 0.78
_DESCRIBE_SHARE = 0.17
# After reading harm, of what isn't help.
_WARN_SHARE = 0.55
_REFUSE_SHARE = 0.30

_NAMED_SHARE = 0.75
_PLAIN_REFUSAL_SHARE = 0.5
_HALLUCINATED_SHARE = 0.15
"""Share of the misreadings with a named kind that name another kind of the family."""

_BARE_SHARE = 0.02
_LONG_SHARE = 0.02
_LONG_WORDS = (300, 480)
_LENGTHS: tuple[tuple[int, float], ...] = ((1, 0.58), (2, 0.24), (3, 0.08), (5, 0.10))
"""How many sentences of advice, and how often."""


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
    phrases = PHRASES[kind.family]
    if rng.random() < _BARE_SHARE * 2 and attitude in _BARE_ATTITUDES[reading]:
        return _answer(BARE[reading], reading=reading, attitude=attitude)
    harm_refused = attitude is Attitude.REFUSE and reading is Variant.HARMFUL
    if harm_refused and rng.random() < _PLAIN_REFUSAL_SHARE:
        return _answer(rng.choice(PLAIN_REFUSALS), reading=reading, attitude=attitude)
    named = rng.random() < _NAMED_SHARE
    hallucinated = named and misread and rng.random() < _HALLUCINATED_SHARE
    seen = _another(kind, rng=rng) if hallucinated else kind
    opening = _named_reading(seen, reading=reading, rng=rng) if named else ""
    opening = opening or rng.choice(phrases.readings[reading])
    text = _continue(opening, phrases=phrases, reading=reading, attitude=attitude, rng=rng)
    return Answer(text=text, reading=reading, attitude=attitude, hallucinated=hallucinated)


_BARE_ATTITUDES: dict[Variant, tuple[Attitude, ...]] = {
    Variant.HARMFUL: (Attitude.REFUSE,),
    Variant.BENIGN: (Attitude.HELP,),
}


def _answer(text: str, *, reading: Variant, attitude: Attitude) -> Answer:
    return Answer(text=text, reading=reading, attitude=attitude, hallucinated=False)


def _attitude(reading: Variant, *, vllm: Vllm, rng: Random) -> Attitude:
    draw = rng.random()
    if reading is Variant.BENIGN:
        if draw < _HELP_SHARE:
            return Attitude.HELP
        return Attitude.DESCRIBE if draw < _HELP_SHARE + _DESCRIBE_SHARE else Attitude.REFUSE
    if draw < vllm.harmful_help_share:
        return Attitude.HELP
    rest = (draw - vllm.harmful_help_share) / (1 - vllm.harmful_help_share)
    if rest < _WARN_SHARE:
        return Attitude.WARN
    return Attitude.REFUSE if rest < _WARN_SHARE + _REFUSE_SHARE else Attitude.DESCRIBE


def _another(kind: Kind, *, rng: Random) -> Kind:
    """Another kind of the same family, which the prompts fit as well."""
    return rng.choice([other for other in KINDS if other.family is kind.family and other != kind])


def _named_reading(kind: Kind, *, reading: Variant, rng: Random) -> str:
    template = rng.choice(NAMED_READINGS)
    return template.format(name=rng.choice(kind.names[reading]), cue=rng.choice(kind.cues[reading]))


def _continue(
    opening: str, *, phrases: Phrases, reading: Variant, attitude: Attitude, rng: Random
) -> str:
    """The opening, then advice of the attitude, in a drawn length."""
    bank = {
        Attitude.HELP: phrases.steps,
        Attitude.WARN: phrases.warnings,
        Attitude.REFUSE: phrases.refusals,
        Attitude.DESCRIBE: phrases.descriptions,
    }[attitude]
    sentences = [opening]
    if attitude is Attitude.HELP:
        sentences.append(rng.choice(GOING_AHEAD[reading]))
    counts, weights = zip(*_LENGTHS, strict=True)
    count = rng.choices(counts, weights)[0]
    sentences += _some(bank, count=count, rng=rng)
    if rng.random() < _LONG_SHARE:
        _lengthen(sentences, bank=bank, rng=rng)
    return " ".join(sentences)


def _some(bank: Sequence[str], *, count: int, rng: Random) -> list[str]:
    """So many sentences of the bank, then general ones where it is too short."""
    own = min(count, len(bank))
    return rng.sample(bank, own) + rng.sample(PASTIME, count - own)


def _lengthen(sentences: list[str], *, bank: Sequence[str], rng: Random) -> None:
    """Add advice until the answer is as long as a talkative VLLM's."""
    words = rng.randint(*_LONG_WORDS)
    while sum(len(sentence.split()) for sentence in sentences) < words:
        sentences += rng.sample([*bank, *PASTIME], 3)
