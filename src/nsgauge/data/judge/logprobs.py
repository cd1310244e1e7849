"""The judge's own probability of a label, from the log-probabilities of the word that it chose."""

from collections.abc import Sequence
from math import exp

from nsgauge.data.judge.prompt import AnswerField, Axis, JudgePrompt
from nsgauge.data.judge.reply import Reply, Token


def positive_probability(
    reply: Reply, *, prompt: JudgePrompt, axis: Axis, positive: str, chosen: str | None = None
) -> float | None:
    """Probability that the judge would have chosen a word for `positive`, given what came before.

    At the token where the chosen word begins, the alternatives that begin one word and no other
    are summed up, and the sum is divided by that over all words. So it is conditional on the
    answer's earlier fields, as any probability of a chain of words is.

    Args:
        reply: With tokens, or there is no probability.
        prompt: What was asked.
        axis: `safety` or `grounding`.
        positive: The label whose probability is wanted.
        chosen: The label that was read from the reply; None for any.

    Returns:
        In [0, 1]; None where the server gave no log-probabilities, or where another word than the
        chosen one's stands last under the field's name.
    """
    name = prompt.of_axis(axis)
    if name is None or not reply.tokens:
        return None
    field = prompt.fields[name]
    text = "".join(token.text for token in reply.tokens)
    start = _value_start(text, name=name)
    if start is None:
        return None
    word = text[start:].partition('"')[0].strip().casefold()
    if chosen is not None and field.choices.get(word) != chosen:
        return None
    token, skipped = _token_at(reply.tokens, position=start)
    masses = dict.fromkeys(field.choices, 0.0)
    for alternative, logprob in token.alternatives.items():
        if alternative[:skipped] != token.text[:skipped]:
            continue
        choice = _begun(alternative[skipped:], field=field)
        if choice is not None:
            masses[choice] += exp(logprob)
    total = sum(masses.values())
    wanted = sum(mass for choice, mass in masses.items() if field.choices[choice] == positive)
    return min(1.0, wanted / total) if total > 0 else None


def _value_start(text: str, *, name: str) -> int | None:
    """Where the first letter of the last value of that key stands."""
    key = text.rfind(f'"{name}"')
    quote = text.find('"', text.find(":", key)) if key >= 0 else -1
    return quote + 1 if 0 < quote < len(text) - 1 else None


def _token_at(tokens: Sequence[Token], *, position: int) -> tuple[Token, int]:
    """The token that holds that position of the text, and how much of it comes before."""
    begin = 0
    for token in tokens:
        if position < begin + len(token.text):
            return token, position - begin
        begin += len(token.text)
    raise ValueError(f"position {position} lies past the last token, at {begin}")


def _begun(text: str, *, field: AnswerField) -> str | None:
    """The one choice that a text begins; None where it begins none or several."""
    word = text.partition('"')[0].strip().casefold()
    fitting = [c for c in field.choices if word and (c.startswith(word) or word.startswith(c))]
    return fitting[0] if len(fitting) == 1 else None
