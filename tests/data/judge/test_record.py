import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.folders import file_digest
from nsgauge.data.judge.asking import End
from nsgauge.data.judge.budget import Tokens
from nsgauge.data.judge.cases import cases_of
from nsgauge.data.judge.prompt import JudgePrompt
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.judge.record import FORMAT, record_path, record_run
from nsgauge.data.judge.runner import JudgeRun
from nsgauge.data.tables import SourceNote, write_data
from nsgauge.errors import DataError
from nsgauge.records import Triple

BEGUN = datetime(2025, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture
def data(tmp_path):
    out = tmp_path / "data"
    write_data(
        out,
        triples=[Triple(triple_id="t", prompt="p", response="r")],
        verdicts=(),
        rejects=(),
        source=SourceNote(importer="test"),
    )
    return out


@pytest.fixture
def cases(data):
    content = {"model": "org/m", "picture": {"show": "none"}, "sampling": {"seed": 7}}
    return cases_of(data, recipe=JudgeRecipe.from_mapping(content, source="test"))


def outcome(**changes):
    fields = {
        "judge": "org/m",
        "triples": 1,
        "left_out": {},
        "kept": 0,
        "answers": 1,
        "calls": 2,
        "unasked": 0,
        "states": {"answered": 1},
        "tokens": Tokens(5, 6),
        "cost": None,
        "currency": "",
        "end": End.DONE,
        "last_error": "",
        "seconds": 0.5,
    }
    return JudgeRun(**{**fields, **changes})


def record(data, cases, *, plan=None, **changes):
    record_run(data, run=outcome(**changes), cases=cases, begun=BEGUN, plan=plan)
    return json.loads(record_path(data, judge="org/m").read_text(encoding="utf-8"))


def test_a_record_holds_all_that_makes_the_judge(data, cases):
    found = record(data, cases)
    assert (found["format"], found["judge"]) == (FORMAT, "org/m")
    assert found["prompt"].pop("hash") == cases.prompt.prompt_hash
    assert JudgePrompt.from_mapping(found["prompt"], source="test") == cases.prompt
    [entry] = found["runs"]
    assert JudgeRecipe.from_mapping(entry["recipe"], source="test") == cases.recipe
    assert (entry["begun"], entry["plan"]) == ("2025-01-02T03:04:05+00:00", None)
    assert entry["result"]["tokens"] == {"sent": 5, "received": 6}
    assert entry["result"]["end"] == "done"


def test_runs_are_added_in_their_order(data, cases, tmp_path):
    plan = tmp_path / "PLAN.parquet"
    plan.write_bytes(b"a plan")
    record(data, cases, end=End.INTERRUPTED, last_error="\ud800")
    found = record(data, cases, plan=plan)
    assert [entry["result"]["end"] for entry in found["runs"]] == ["interrupted", "done"]
    assert found["runs"][1]["plan"] == {"file": "PLAN.parquet", "sha256": file_digest(plan)}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"runs": 5}', b"\xff\xfe\xff"])
def test_a_record_that_cannot_be_read_is_not_overwritten(data, cases, content):
    path = record_path(data, judge="org/m")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match="no record of a judge; move it away"):
        record(data, cases)
    assert path.read_bytes() == content


NAMES = st.text(max_size=80) | st.sampled_from(["a/b", "a\\b", "../a", "..", ".", "", "a-b", "A/b"])


@given(NAMES, NAMES)
def test_every_judge_has_a_file_of_its_own_inside_the_folder(tmp_path_factory, one, two):
    data = tmp_path_factory.getbasetemp()
    path = record_path(data, judge=one)
    assert path.parent == data / "judging"
    assert path.name.isascii()
    assert not path.name.startswith((".", "-"))
    assert len(path.name) < 100
    assert (path.name.casefold() == record_path(data, judge=two).name.casefold()) == (one == two)
