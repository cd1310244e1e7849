"""Reasoning that a VLLM wrote around its answer: taken off on request, never lost."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from nsgauge.records import ResponseState, Triple

EXTRA_KEY = "response_with_reasoning"
"""Where the extras keep the text as it came."""

# What holds the answer itself, in models that wrap every part (LLaVA-CoT and its kin).
_ANSWER = re.compile(r"<(conclusion|answer)>(.*?)(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_THOUGHT = re.compile(
    r"<(think|thinking|reasoning|summary|caption)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE
)
# Chat templates often write the opening tag themselves, so that a response only has the closing.
_HEADLESS = re.compile(r"\A(?:(?!<think).)*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)


def without_reasoning(response: str) -> str:
    """The answer in a response; the response itself where it has no reasoning.

    Thought that was cut off before its closing tag is all thought, and leaves no answer.

    Example:
        >>> without_reasoning("<think>A mushroom. Which?</think> Don't eat it.")
        "Don't eat it."
        >>> without_reasoning("<think>A mushroom. Wh")
        ''
    """
    # Thought comes off first, or an answer that is only drafted in it would pass for the answer.
    kept = _HEADLESS.sub("", response)
    outside = _THOUGHT.sub("", kept)
    answers = list(_ANSWER.finditer(outside))
    if answers:
        return answers[-1].group(2).strip()
    return outside.strip() if outside != response else response


def stripped(triples: Iterable[Triple]) -> Iterator[Triple]:
    """The triples, each answered by what is left of its response without reasoning."""
    for triple in triples:
        answer = without_reasoning(triple.response)
        if answer == triple.response or triple.response_state is ResponseState.NOT_A_RESPONSE:
            yield triple
            continue
        extras = {**json.loads(triple.extras or "{}"), EXTRA_KEY: triple.response}
        state = ResponseState.ANSWERED if answer else ResponseState.EMPTY
        yield replace(triple, response=answer, response_state=state, extras=json.dumps(extras))
