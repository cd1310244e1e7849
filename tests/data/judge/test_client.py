"""One fault at a time, against a real socket."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from nsgauge.data.judge.cache import AnswerCache
from nsgauge.errors import DataError, JudgeError, SettingsError


def first_then_well(bench, told, *, times=1):
    """A script: each question gets `told` first, then the truth."""

    def script(asked):
        return told(asked) if asked.attempt < times else bench.obedient(asked)

    return script


def late(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


COMPLAINTS = {
    "429 with a number": lambda b, _: b.Told(429, {"error": {}}, {"Retry-After": "0.05"}),
    "429 with a date": lambda b, _: b.Told(429, {"error": {}}, {"Retry-After": late(1)}),
    "429 with nonsense": lambda b, _: b.Told(429, {"error": {}}, {"Retry-After": "soon"}),
    "429 with a date gone by": lambda b, _: b.Told(429, {"error": {}}, {"Retry-After": late(-9)}),
    "500": lambda b, _: b.Told(500, {"error": {"message": "oh"}}),
    "503 in HTML": lambda b, _: b.Told(503, b"<html>no</html>", {"Content-Type": "text/html"}),
    "hangs": lambda b, a: b.Told(body=b.obedient(a).body, wait=2.6),
    "drips": lambda b, a: b.Told(body=b.obedient(a).body, drip=0.02),
    "is cut off": lambda b, a: b.Told(body=b.obedient(a).body, cut_at=40),
    "half a body": lambda b, a: b.Told(body=json.dumps(b.obedient(a).body).encode()[:60]),
    "200 with an error": lambda b, _: b.Told(body={"error": {"message": "overloaded"}}),
    "200 with HTML": lambda b, _: b.Told(body=b"<html>", headers={"Content-Type": "text/html"}),
    "200 with nothing": lambda b, _: b.Told(body=b""),
    "200 without choices": lambda b, _: b.Told(body={**b.completion("x"), "choices": []}),
}


@pytest.mark.parametrize("name", COMPLAINTS)
def test_after_a_complaint_the_question_is_asked_again(name, bench, monkeypatch):
    monkeypatch.setattr("nsgauge.data.judge.asking._FIRST_WAIT", 0.001)
    server = bench.serve(first_then_well(bench, lambda asked: COMPLAINTS[name](bench, asked)))
    recipe = bench.recipe(server, **{"endpoint.timeout_seconds": 2.0, "limits.concurrency": 2})
    run = bench.judge(bench.data(2), recipe)
    assert run.states == {"answered": 2}
    assert run.calls == 4
    assert set(server.attempts.values()) == {2}


STATES = {
    "refused": lambda b: b.completion(None, refusal="I won't."),
    "refused in words": lambda b: b.completion("I'm sorry, but I can't help with that."),
    "filtered": lambda b: b.completion(None, finish="content_filter"),
    "truncated": lambda b: b.completion('{"case": "', finish="length"),
    "unparsable": lambda b: b.completion('{"grounding": "grounded", "safety": "safe"}'),
    "unparsable, empty": lambda b: b.completion(""),
}


@pytest.mark.parametrize("name", STATES)
def test_an_answer_without_a_label_is_a_state_and_is_not_bought_again(name, bench):
    server, data = bench.serve(lambda _: bench.Told(body=STATES[name](bench))), bench.data(3)
    state = name.split(",")[0].split()[0]
    assert bench.judge(data, bench.recipe(server)).states == {state: 3}
    assert bench.judge(data, bench.recipe(server)).calls == 0
    assert {(v.safety, v.grounding) for v in bench.votes(data).values()} == {(None, None)}


# The last as OpenRouter says it: openrouter.ai/docs/api/reference/errors-and-debugging.
FILTERS = {
    "openai": (400, {"message": "no", "code": "content_filter"}),
    "azure": (400, {"message": "no", "code": "content_policy_violation"}),
    "openrouter": (
        403,
        {
            "message": "Your chosen model requires moderation and your input was flagged",
            "code": 403,
            "metadata": {"reasons": ["violence"], "flagged_input": "...", "provider_name": "x"},
        },
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_before_the_judge_is_a_state_too(name, bench):
    status, error = FILTERS[name]
    server = bench.serve(lambda _: bench.Told(status=status, body={"error": error}))
    data = bench.data(3)
    assert bench.judge(data, bench.recipe(server)).states == {"filtered": 3}
    assert bench.judge(data, bench.recipe(server)).calls == 0


def test_a_server_without_schemas_is_asked_in_words(bench):
    def script(asked):
        if "response_format" in asked.body:
            error = {"error": {"message": "response_format json_schema is not supported"}}
            return bench.Told(status=400, body=error)
        said = {"case": asked.code, **bench.rule(asked.response)}
        return bench.Told(body=bench.completion(f"Well:\n```json\n{json.dumps(said)}\n```\nDone."))

    server, data = bench.serve(script), bench.data(12)
    assert bench.judge(data, bench.recipe(server)).states == {"answered": 12}
    assert 12 < sum(server.attempts.values()) < 24
    strict = bench.recipe(server, judge="strict", **{"sampling.structured": "json_schema"})
    assert bench.judge(data, strict).states == {"failed": 12}


def test_what_a_recipe_says_of_sampling_is_what_the_server_gets(bench):
    server = bench.serve()
    sampling = {
        "sampling.temperature": None,
        "sampling.max_tokens": 77,
        "sampling.token_limit_field": "max_completion_tokens",
        "sampling.logprobs": True,
        "sampling.structured": "text",
        "sampling.extra_body": {"top_k": 3},
        "endpoint.idempotency_header": "Idempotency-Key",
    }
    bench.judge(bench.data(2), bench.recipe(server, **sampling))
    bodies = [asked.body for _, asked in server.log]
    assert all(body["max_completion_tokens"] == 77 and body["top_k"] == 3 for body in bodies)
    assert all(body["logprobs"] is True and body["top_logprobs"] > 1 for body in bodies)
    assert not any({"temperature", "max_tokens", "response_format"} & set(b) for b in bodies)
    assert len({asked.headers["idempotency-key"] for _, asked in server.log}) == 2


def test_the_key_is_sent_and_never_kept(bench, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    server, data = bench.serve(), bench.data(2)
    bench.judge(data, bench.recipe(server, **{"endpoint.api_key_variable": "SOME_KEY"}))
    assert server.log[0][1].headers["authorization"] == "Bearer sk-very-secret"
    files = [path for path in bench.root.rglob("*") if path.is_file()]
    assert not [path for path in files if b"sk-very-secret" in path.read_bytes()]


def test_openai_itself_wants_a_key(bench, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    recipe = bench.recipe(bench.serve(), **{"endpoint.base_url": None})
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        bench.judge(bench.data(1), recipe)


def test_a_quota_that_is_used_up_ends_the_run(bench):
    error = {"error": {"message": "quota", "code": "insufficient_quota"}}
    server = bench.serve(lambda _: bench.Told(status=429, body=error))
    with pytest.raises(Exception, match=r"quota.*0 answers are kept"):
        bench.judge(bench.data(9), bench.recipe(server, **{"limits.concurrency": 1}))
    assert len(server.log) == 1


STRANGE = {
    "content is a list": {"content": [{"type": "text", "text": "x"}]},
    "no message": None,
    "refusal is a number": {"content": "x", "refusal": 5},
}


@pytest.mark.parametrize("name", STRANGE)
def test_an_answer_of_a_wrong_type_is_a_complaint_and_never_kept(name, bench, monkeypatch):
    monkeypatch.setattr("nsgauge.data.judge.asking._FIRST_WAIT", 0.001)

    def strange(_):
        body = bench.completion("x")
        body["choices"][0]["message"] = STRANGE[name]
        return bench.Told(body=body)

    server = bench.serve(first_then_well(bench, strange))
    run = bench.judge(bench.data(2), bench.recipe(server))
    assert (run.states, run.calls) == ({"answered": 2}, 4)


def test_counts_and_logprobs_of_a_wrong_type_are_left_out(bench):
    def script(asked):
        body = bench.obedient(asked).body
        body["usage"] = {"prompt_tokens": "12", "completion_tokens": None, "total_tokens": -1}
        content = body["choices"][0]["message"]["content"]
        token = {"token": content, "logprob": None, "bytes": None, "top_logprobs": None}
        body["choices"][0]["logprobs"] = {"content": [token], "refusal": None}
        return bench.Told(body=body)

    server, data = bench.serve(script), bench.data(2)
    run = bench.judge(data, bench.recipe(server, **{"sampling.logprobs": True}))
    assert run.states == {"answered": 2}
    assert run.tokens.received == 2 * 400
    assert {v.unsafe_probability for v in bench.votes(data).values()} == {None}


def test_a_call_that_timed_out_counts_as_its_estimate(bench, monkeypatch):
    monkeypatch.setattr("nsgauge.data.judge.asking._FIRST_WAIT", 0.001)
    price = {"input_per_million": 0.0, "output_per_million": 1e6}
    server = bench.serve(first_then_well(bench, lambda a: COMPLAINTS["hangs"](bench, a)))
    recipe = bench.recipe(server, price=price, **{"endpoint.timeout_seconds": 1.5})
    run = bench.judge(bench.data(1), recipe)
    assert (run.answers, run.cost) == (1, 400.0 + 20.0)


def test_a_disk_that_is_full_ends_the_run_with_what_was_kept(bench, monkeypatch):
    kept: list[object] = []
    add = AnswerCache.add

    def failing(cache, asked, *, reply):
        if len(kept) == 3:
            raise JudgeError("an answer can't be kept (disk full)")
        kept.append(asked)
        add(cache, asked, reply=reply)

    monkeypatch.setattr(AnswerCache, "add", failing)
    server, data = bench.serve(), bench.data(60)
    with pytest.raises(JudgeError, match="disk full"):
        bench.judge(data, bench.recipe(server, **{"limits.concurrency": 4}))
    # What was on its way when the first couldn't be kept, and nothing after it.
    assert len(server.log) <= 3 + 4
    monkeypatch.setattr(AnswerCache, "add", add)
    assert bench.judge(data, bench.recipe(server)).kept == 3


def test_broken_pictures_in_a_row_are_no_fault_of_the_endpoint(bench):
    server, data = bench.serve(), bench.data(40)
    next((data / "images").iterdir()).write_bytes(b"not a picture")
    recipe = bench.recipe(server, **{"limits.failures_in_a_row": 2, "limits.concurrency": 1})
    run = bench.judge(data, recipe)
    assert (run.end, run.states) == ("done", {"answered": 26, "failed": 14})


def test_a_name_stands_for_one_model_and_temperature(bench):
    server, data = bench.serve(), bench.data(2)
    bench.judge(data, bench.recipe(server))
    with pytest.raises(DataError, match="another name"):
        bench.judge(data, bench.recipe(server, **{"sampling.temperature": 0.7}))
    bench.judge(data, bench.recipe(server, judge="warm", **{"sampling.temperature": 0.7}))
