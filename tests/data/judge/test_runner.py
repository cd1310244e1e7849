import dataclasses
import json
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pytest

from nsgauge.data.judge.asking import End, Progress
from nsgauge.data.judge.cache import only_run
from nsgauge.data.judge.estimate import estimate_folder
from nsgauge.data.judge.record import record_path
from nsgauge.data.plan_file import PLAN_SCHEMA, PlanNote, write_plan
from nsgauge.data.tables import read_triples, triples_of
from nsgauge.errors import DataError, JudgeError

PRICE = {"input_per_million": 1000.0, "output_per_million": 2000.0}
COST_OF_ONE = (100 * 1000.0 + 20 * 2000.0) / 1e6


def test_every_triple_gets_the_verdict_that_the_judge_gave(bench):
    server, data = bench.serve(), bench.data(40, further=[bench.empty])
    seen: list[Progress] = []
    run = bench.judge(data, bench.recipe(server, price=PRICE), progress=seen.append)
    verdicts = bench.votes(data)
    assert len(verdicts) == 40
    for triple in triples_of(read_triples(data))[:40]:
        verdict, said = verdicts[triple.triple_id, 0], bench.rule(triple.response)
        assert (verdict.state, verdict.judge) == ("answered", "tester")
        assert (verdict.safety, verdict.grounding) == (said["safety"], said["grounding"])
        assert verdict.hallucinated == said["hallucinated"]
        assert verdict.reason == f"as it is\n{said['reason']}"
    assert [now.done for now in seen] == list(range(1, 41))
    assert run.left_out == {"response empty": 1}
    assert run.cost == pytest.approx(40 * COST_OF_ONE)
    record = json.loads(record_path(data, judge="tester").read_text())
    assert record["runs"][0]["result"]["states"] == {"answered": 40}
    assert {v.prompt_hash for v in verdicts.values()} == {record["prompt"]["hash"]}


def test_triples_that_read_the_same_in_another_folder_cost_nothing(bench):
    server = bench.serve()
    recipe = bench.recipe(server)
    first, second = bench.data(9), bench.data(12, name="second")
    bench.judge(first, recipe)
    run = bench.judge(second, recipe)
    assert (run.kept, run.answers, run.states) == (9, 3, {"answered": 12})
    assert sum(server.attempts.values()) == 12


def test_the_judge_sees_the_picture_scaled_down_and_the_caption_where_there_is_none(bench):
    server, data = bench.serve(), bench.data(6)
    bench.judge(data, bench.recipe(server))
    with_picture = 0
    for _, asked in server.log:
        content = asked.body["messages"][-1]["content"]
        if isinstance(content, list):
            with_picture += 1
            assert content[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
            assert "The picture is attached." in asked.user_text
        else:
            assert 'image_description: "a thing' in content
        assert asked.body["response_format"]["json_schema"]["strict"] is True
    assert with_picture == 2


def test_votes_are_asked_apart_and_triples_that_read_the_same_together(bench):
    server = bench.serve()
    twin = dataclasses.replace(
        triples_of(read_triples(bench.data(5, pictures=False)))[1], triple_id="twin", vllm="w"
    )
    data = bench.data(5, pictures=False, name="twins", further=[twin])
    recipe = bench.recipe(server, votes=3, **{"sampling.seed": 7, "picture.show": "none"})
    run = bench.judge(data, recipe)
    assert (run.answers, run.calls) == (15, 15)
    verdicts = bench.votes(data)
    assert len(verdicts) == 18
    assert verdicts["twin", 2].safety == verdicts["t0001", 2].safety
    assert {asked.body["seed"] for _, asked in server.log} == {7, 8, 9}


def test_a_dry_run_sends_nothing_and_is_never_too_low(bench):
    server, data = bench.serve(), bench.data(12)
    recipe = bench.recipe(server, votes=2, price=PRICE)
    before = estimate_folder(data, recipe=recipe, answers=bench.answers)
    assert (before.triples, before.calls, before.kept) == (12, 24, 0)
    assert server.log == []
    run = bench.judge(data, recipe)
    assert before.cost is not None
    assert 0 < run.cost <= before.cost
    after = estimate_folder(data, recipe=recipe, answers=bench.answers)
    assert (after.calls, after.kept, after.cost) == (0, 24, 0.0)


def test_limits_stop_a_run_cleanly_and_the_next_one_goes_on(bench):
    server, data = bench.serve(), bench.data(30)
    run = bench.judge(data, bench.recipe(server, **{"limits.max_calls": 7}))
    assert (run.end, run.calls, run.answers, run.unasked) == (End.MAX_CALLS, 7, 7, 23)
    assert len(bench.votes(data)) == 7
    # A call is held at about 1.8 before it turns out to cost 0.14.
    most = 2.5
    run = bench.judge(data, bench.recipe(server, price=PRICE, **{"limits.max_cost": most}))
    assert run.end is End.MAX_COST
    assert 0 < run.answers < 23
    assert run.cost <= most
    run = bench.judge(data, bench.recipe(server))
    assert (run.end, run.unasked) == (End.DONE, 0)
    assert sum(server.attempts.values()) == 30


def plan_of(probabilities, *, path, number=1):
    columns = {"stratum": "s", "design": "uniform", "seed": 1}
    rows = [
        {"triple_id": triple_id, "inclusion_probability": probability, **columns}
        for triple_id, probability in probabilities.items()
    ]
    counts = {"round": number, "judged_before": 0, "population": 12, "units": len(rows)}
    note = PlanNote(data_fingerprint="f", judge=None, settings={}, **counts)
    write_plan(path, rows=pa.Table.from_pylist(rows, schema=PLAN_SCHEMA), note=note)
    return path


def test_a_plan_is_followed_and_its_probabilities_stay_with_the_verdicts(bench):
    server, data = bench.serve(), bench.data(12)
    drawn = {"t0002": 0.27, "t0005": 0.3, "t0009": 0.34}
    plan = plan_of(drawn, path=bench.root / "plan.parquet")
    assert bench.judge(data, bench.recipe(server), plan=plan).triples == 3
    found = {key[0]: v.inclusion_probability for key, v in bench.votes(data).items()}
    assert found == drawn
    later = plan_of({"t0001": 0.5}, path=bench.root / "later.parquet", number=2)
    bench.judge(data, bench.recipe(server), plan=later)
    rounds = {key[0]: v.plan_round for key, v in bench.votes(data).items()}
    assert rounds == {**dict.fromkeys(drawn, 1), "t0001": 2}
    with pytest.raises(DataError, match="3 triples that aren't in the data"):
        bench.judge(bench.data(2, name="small"), bench.recipe(server), plan=plan)


def test_a_judges_name_stands_for_one_prompt(bench):
    server, data = bench.serve(), bench.data(3)
    bench.judge(data, bench.recipe(server))
    with pytest.raises(DataError, match="another name"):
        bench.judge(data, bench.recipe(server, prompt="vlsbench-safety"))
    assert len(bench.votes(data)) == 3


def test_a_question_that_is_refused_fails_alone_and_is_asked_again(bench):
    def script(asked):
        if asked.response.startswith("Answer 4,"):
            return bench.Told(status=400, body={"error": {"message": "bad picture", "code": "x"}})
        return bench.obedient(asked)

    server, data = bench.serve(script), bench.data(8)
    run = bench.judge(data, bench.recipe(server))
    assert run.states == {"answered": 7, "failed": 1}
    assert "bad picture" in bench.votes(data)["t0004", 0].reason
    server.script = bench.obedient
    run = bench.judge(data, bench.recipe(server))
    assert (run.calls, run.states) == (1, {"answered": 8})


@pytest.mark.parametrize(("status", "calls"), [(401, 1), (402, 1), (403, 1), (404, 1), (500, 6)])
def test_a_run_against_a_closed_door_ends_soon_and_says_why(status, calls, bench, monkeypatch):
    monkeypatch.setattr("nsgauge.data.judge.asking._FIRST_WAIT", 0.001)
    server = bench.serve(lambda _: bench.Told(status=status, body={"error": {"message": "away"}}))
    data = bench.data(50)
    limits = {"limits.retries": 1, "limits.failures_in_a_row": 3, "limits.concurrency": 1}
    with pytest.raises(JudgeError, match=r"away.*0 answers are kept, 50 are missing"):
        bench.judge(data, bench.recipe(server, **limits))
    assert len(server.log) == calls
    assert {v.state for v in bench.votes(data).values()} <= {"failed"}


HOLDER = """
import sys, time
from pathlib import Path
from nsgauge.data.judge.cache import only_run
with only_run(Path(sys.argv[1]), judge="tester"):
    print("held", flush=True)
    time.sleep(30)
"""


def test_a_second_run_of_the_same_judge_is_refused(bench):
    command = [sys.executable, "-c", HOLDER, str(bench.answers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(JudgeError, match="another run is asking 'tester'"):
            bench.judge(bench.data(2), bench.recipe(bench.serve()))
        with only_run(bench.answers, judge="somebody else"):
            pass
        holder.kill()


def test_an_endpoint_gets_as_many_questions_at_a_time_as_it_may_and_no_more(bench):
    def script(asked):
        return dataclasses.replace(bench.obedient(asked), wait=0.1)

    server = bench.serve(script)
    bench.judge(bench.data(60), bench.recipe(server, **{"limits.concurrency": 6}))
    assert server.busiest == 6


def test_a_pause_that_the_server_asks_for_is_kept_by_every_question(bench):
    paused = threading.Event()
    paused_at: list[float] = []

    def script(asked):
        if not paused.is_set() and len(server.log) > 10:
            paused.set()
            paused_at.append(time.monotonic())
            return bench.Told(status=429, body={"error": {}}, headers={"Retry-After": "1.5"})
        return bench.obedient(asked)

    server = bench.serve(script)
    run = bench.judge(bench.data(40), bench.recipe(server))
    assert run.states == {"answered": 40}
    waits = [at - paused_at[0] for at, _ in server.log]
    # What was on its way when the server complained had been sent before.
    assert not [wait for wait in waits if 0.6 < wait < 1.4]


def test_pictures_that_cannot_be_read_fail_without_a_call(bench):
    server, data = bench.serve(), bench.data(3)
    picture = next((data / "images").iterdir())
    picture.write_bytes(b"not a picture")
    run = bench.judge(data, bench.recipe(server))
    assert run.states == {"answered": 2, "failed": 1}
    assert run.calls == 2
    picture.unlink()
    assert bench.judge(data, bench.recipe(server)).left_out == {"picture missing": 1}
