"""The door to openai: one question to one OpenAI-compatible server, once.

What comes back is a Reply, or one of three errors that say what to do next. Asking again is the
caller's business, so that a pause is kept by all questions and every request is counted.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from math import isnan
from time import time
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice

from nsgauge.data.judge.prompt import JudgePrompt
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.judge.reply import Reply, Token
from nsgauge.errors import SettingsError

LONGEST_PAUSE = 3600.0
"""Seconds; a server that asks for a longer pause gets this one."""

_ALTERNATIVES = 8
_OVERLOADED = frozenset({408, 409, 425, 429})
_REFUSED_ENTRY = frozenset({401, 402, 403, 404, 405})
"""402: out of credit; OpenRouter and others, where OpenAI says 429 `insufficient_quota`."""
_FILTER_CODES = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
_FLAGGED_SIGNS = ("flagged_input", "nput was flagged", "nput flagged", *_FILTER_CODES)
"""How OpenRouter says, with 403, that its moderation keeps a question from the model."""
_SCHEMA_WORDS = ("response_format", "json_schema", "schema", "grammar", "structured")


class ComplaintError(Exception):
    """The server is overloaded, failed, or was cut off: ask again later.

    Args:
        reason: What happened, in a few words.
        pause: Seconds that the server wants; None if it doesn't say.
        may_be_billed: Whether the server was at work on the answer, or sent it in a broken form.
    """

    def __init__(
        self, reason: str, *, pause: float | None = None, may_be_billed: bool = False
    ) -> None:
        super().__init__(reason)
        self.pause = pause
        self.may_be_billed = may_be_billed


class QuestionError(Exception):
    """The server refuses this question and will refuse it again."""


class EntryError(Exception):
    """The server refuses every question: key, model, address or quota are wrong."""


class Client:
    """Asks one judge.

    Args:
        recipe: Which.
        prompt: What is asked.
        server: The openai client; it must not retry by itself.
    """

    def __init__(
        self, recipe: JudgeRecipe, *, prompt: JudgePrompt, server: openai.AsyncOpenAI
    ) -> None:
        self._recipe = recipe
        self._prompt = prompt
        self._server = server
        self._structured = recipe.sampling.structured != "text"
        self._schema_kept = False

    async def ask(self, messages: list[dict[str, Any]], *, vote: int, identity: str) -> Reply:
        """Ask once.

        Args:
            messages: The chat.
            vote: Which of several answers to the same question this will be.
            identity: The same for every attempt at this answer, for servers that bill by it.

        Raises:
            ComplaintError: ask again later.
            QuestionError: this question will never be answered.
            EntryError: no question will.
        """
        structured = self._structured
        try:
            async with asyncio.timeout(self._recipe.endpoint.timeout_seconds):
                completion = await self._server.chat.completions.create(
                    **self._request(messages, vote=vote, structured=structured, identity=identity)
                )
        except TimeoutError as error:
            seconds = self._recipe.endpoint.timeout_seconds
            reason = f"no whole answer within {seconds:g} s"
            raise ComplaintError(reason, may_be_billed=True) from error
        except openai.APIStatusError as error:
            if structured and self._lacks_schema(error):
                self._structured = False
                return await self.ask(messages, vote=vote, identity=identity)
            return _refused(error, structured=structured)
        except openai.APITimeoutError as error:
            raise ComplaintError("timed out", may_be_billed=True) from error
        except (openai.APIError, ValueError) as error:
            # ValueError: a body that isn't JSON, which the library passes on as it is.
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            broken = isinstance(error, ValueError)
            raise ComplaintError(reason, may_be_billed=broken) from error
        reply = _reply(completion, structured=structured)
        self._schema_kept |= structured
        return reply

    def _request(
        self, messages: list[dict[str, Any]], *, vote: int, structured: bool, identity: str
    ) -> dict[str, Any]:
        sampling, endpoint = self._recipe.sampling, self._recipe.endpoint
        request: dict[str, Any] = {
            "model": self._recipe.model,
            "messages": messages,
            sampling.token_limit_field: sampling.max_tokens,
            "extra_body": dict(sampling.extra_body),
        }
        if sampling.temperature is not None:
            request["temperature"] = sampling.temperature
        if sampling.seed is not None:
            request["seed"] = sampling.seed + vote
        if sampling.logprobs:
            request |= {"logprobs": True, "top_logprobs": _ALTERNATIVES}
        if structured:
            schema = {"name": "verdict", "strict": True, "schema": self._prompt.answer_schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        if endpoint.idempotency_header:
            request["extra_headers"] = {endpoint.idempotency_header: identity}
        return request

    def _lacks_schema(self, error: openai.APIStatusError) -> bool:
        """Whether the server can't be made to keep to a schema, as it seems."""
        if self._recipe.sampling.structured != "auto" or self._schema_kept:
            return False
        ours = error.status_code in {400, 422, 501}
        return ours and any(word in str(error.body) for word in _SCHEMA_WORDS)


@asynccontextmanager
async def connected(recipe: JudgeRecipe, *, prompt: JudgePrompt) -> AsyncIterator[Client]:
    """A client of the recipe's endpoint.

    Raises:
        SettingsError: OpenAI's own endpoint without a key.
    """
    endpoint = recipe.endpoint
    key = os.environ.get(endpoint.api_key_variable)
    if not key and endpoint.base_url is None:
        raise SettingsError(
            f"no key in the environment variable {endpoint.api_key_variable}: set it, or give "
            "endpoint.base_url of a server that needs none"
        )
    async with openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=endpoint.base_url,
        max_retries=0,
        timeout=endpoint.timeout_seconds,
    ) as server:
        yield Client(recipe, prompt=prompt, server=server)


def _refused(error: openai.APIStatusError, *, structured: bool) -> Reply:
    """What an error status means: a filtered answer, or an error that says what to do."""
    text = f"{error.status_code}: {str(error.message)[:300]}"
    if error.status_code == 429 and error.code == "insufficient_quota":
        raise EntryError(text) from error
    if error.status_code in _OVERLOADED or error.status_code >= 500:
        raise ComplaintError(text, pause=_pause(error)) from error
    told = f"{error.code} {error.body}"
    # A 403 speaks of the key, except where it names this question.
    signs = _FLAGGED_SIGNS if error.status_code in _REFUSED_ENTRY else _FILTER_CODES
    if any(sign in told for sign in signs):
        return Reply(content=None, finish_reason="content_filter", structured=structured)
    if error.status_code in _REFUSED_ENTRY:
        raise EntryError(text) from error
    raise QuestionError(text) from error


def _reply(completion: object, *, structured: bool) -> Reply:
    # Gateways send errors with status 200, and pages of HTML; the library lets both through, and
    # values of any type wherever they stand.
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        raise ComplaintError(f"status 200 without an answer: {str(completion)[:200]}")
    choice = completion.choices[0]
    texts = [getattr(choice.message, name, None) for name in ("content", "refusal")]
    if choice.message is None or not all(text is None or isinstance(text, str) for text in texts):
        found = f"status 200 with an answer that is no text: {str(choice)[:200]}"
        raise ComplaintError(found, may_be_billed=True)
    return Reply(
        content=texts[0],
        refusal=texts[1],
        finish_reason=str(choice.finish_reason or ""),
        input_tokens=_count(completion, name="prompt_tokens"),
        output_tokens=_count(completion, name="completion_tokens"),
        model=str(completion.model or ""),
        structured=structured,
        tokens=_tokens(choice),
    )


def _count(completion: ChatCompletion, *, name: str) -> int | None:
    count = getattr(completion.usage, name, None)
    return count if isinstance(count, int) and count >= 0 else None


def _tokens(choice: Choice) -> list[Token] | None:
    """The tokens with their alternatives; None where the server gave none, or not for all."""
    content = choice.logprobs.content if choice.logprobs else None
    if not content:
        return None
    tokens = []
    for token in content:
        pairs = [(each.token, each.logprob) for each in (token, *(token.top_logprobs or ()))]
        if not all(isinstance(t, str) and isinstance(v, int | float) for t, v in pairs):
            return None
        tokens.append(Token(token.token, {text: float(value) for text, value in pairs}))
    return tokens


def _pause(error: openai.APIStatusError) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None without one."""
    text = error.response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time()
        except (TypeError, ValueError, OverflowError):
            return None
    return None if isnan(seconds) else min(max(seconds, 0.0), LONGEST_PAUSE)
