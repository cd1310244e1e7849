"""A thousand triples, a server with every fault, and runs that are killed at random moments."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nsgauge.data.judge.cache import opened
from nsgauge.data.judge.cases import cases_of
from nsgauge.data.judge.record import record_path
from nsgauge.data.tables import read_verdicts

CONCURRENCY = 16
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def faulty(bench, *, seed, passing):
    """A script of faults drawn for each question: most get one or two, then their answer.

    What stands in the place of an answer for good (a refusal, a filter, a wrong schema, a cut) is a
    function of the question alone, so that any run must come to the same table.
    """

    def script(asked):
        draw = random.Random(f"{seed}:{asked.code}")
        kind = draw.choice([*passing, *LASTING, *["none"] * 80])
        if kind in LASTING:
            return bench.Told(body=LASTING[kind](bench, asked))
        if kind in passing and asked.attempt == 0:
            return PASSING[kind](bench, asked)
        told = bench.obedient(asked)
        told.wait = draw.uniform(0.0, 0.02)
        return told

    return script


PASSING = {
    "429": lambda b, _: b.Told(429, {"error": {}}, {"Retry-After": "0.05"}),
    "500": lambda b, _: b.Told(500, {"error": {}}),
    "hang": lambda b, a: b.Told(body=b.obedient(a).body, wait=0.7),
    "drip": lambda b, a: b.Told(body=b.obedient(a).body, drip=0.02),
    "half": lambda b, a: b.Told(body=b.obedient(a).body, cut_at=100),
}
LASTING = {
    "refusal": lambda b, _: b.completion(None, refusal="no"),
    "filter": lambda b, _: b.completion(None, finish="content_filter"),
    "schema": lambda b, a: b.completion(json.dumps({"case": a.code, "verdict": "safe"})),
    "half JSON": lambda b, a: b.completion(f'{{"case": "{a.code}", "gro', finish="length"),
}


def command(bench, data, recipe_file):
    return [
        *(sys.executable, "-m", "nsgauge", "judge", str(data), "--recipe", str(recipe_file)),
        *("--answers", str(bench.answers)),
    ]


def written(bench, server, **settings):
    limits = {"limits.concurrency": CONCURRENCY, "endpoint.timeout_seconds": 0.5}
    recipe = bench.recipe(server, **{**limits, **settings})
    path = bench.root / "judge.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return recipe, path


def kill_at(run, server, *, answers, with_signal):
    """Send the signal once the server has given so many answers, in the midst of others."""
    while sum(server.billed.values()) < answers and run.poll() is None:
        time.sleep(0.001)
    if run.poll() is None:
        run.send_signal(with_signal)
    run.wait(timeout=30)


def kept(bench, data, recipe):
    """The codes of the questions whose answers are on disk."""
    questions = cases_of(data, recipe=recipe).questions
    with opened(bench.answers) as cache:
        return {q.code for q in questions if cache.has(q.key, vote=0)}


@dataclass
class Disturbed:
    """What became of a folder whose run was stopped again and again."""

    data: Path
    server: Any
    equal: bool


def disturb(bench, *, triples, kills, with_signal, passing=tuple(PASSING), **settings):
    """Run to the end undisturbed, and elsewhere with that many signals before the end."""
    script = faulty(bench, seed=3, passing=passing)
    undisturbed = bench.data(triples, name="undisturbed", pictures=False)
    bench.judge(undisturbed, written(bench, bench.serve(script), **settings)[0])
    bench.answers.unlink()
    data, server = bench.data(triples, pictures=False), bench.serve(script)
    recipe, path = written(bench, server, **settings)
    before: set[str] = set()
    for moment in sorted(random.Random(11).sample(range(5, triples - 50), kills)):
        asked = server.attempts.copy()
        with subprocess.Popen(command(bench, data, path), **QUIET) as run:
            kill_at(run, server, answers=moment, with_signal=with_signal)
        after = kept(bench, data, recipe)
        assert before <= after
        # What had been kept when the run began was not asked for again.
        assert not [code for code in before if server.attempts[code] > asked[code]]
        before = after
    subprocess.run(command(bench, data, path), check=True, **QUIET)
    return Disturbed(data, server, read_verdicts(data).equals(read_verdicts(undisturbed)))


def test_killed_ten_times_it_loses_nothing_and_pays_for_nothing_twice(bench, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # An answer on its way to a process that is killed can't be kept by it. A server that bills by
    # identity gives it again; from any other it is bought again, it and nothing else.
    header = {"endpoint.idempotency_header": "Idempotency-Key"}
    found = disturb(bench, triples=1000, kills=10, with_signal=signal.SIGKILL, **header)
    assert found.equal
    assert len(found.server.billed) == 1000
    assert set(found.server.billed.values()) == {1}


def test_stopped_by_hand_nothing_is_even_on_its_way(bench, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Time enough, so that a slow machine is never taken for a server that hangs.
    patient = {"passing": ("429", "500", "half"), "endpoint.timeout_seconds": 20.0}
    found = disturb(bench, triples=300, kills=4, with_signal=signal.SIGTERM, **patient)
    assert found.equal
    assert len(found.server.billed) == 300
    assert set(found.server.billed.values()) == {1}
    runs = json.loads(record_path(found.data, judge="tester").read_text())["runs"]
    *ends, last = [run["result"]["end"] for run in runs]
    assert (set(ends), last) == ({"interrupted"}, "done")
