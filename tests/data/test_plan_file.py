import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.plan_file import (
    NOTE_KEY,
    PLAN_SCHEMA,
    Design,
    PlanNote,
    note_of,
    read_plan,
    write_plan,
)
from nsgauge.errors import DataError

NOTE = PlanNote(
    data_fingerprint="f0",
    judge="me",
    round=2,
    judged_before=3,
    population=10,
    units=2,
    settings={"size": 2, "strata": ["vllm"]},
)


def plan(ids=("b", "a"), **columns):
    fields = {
        "triple_id": list(ids),
        "inclusion_probability": [0.2] * len(ids),
        "stratum": ["all"] * len(ids),
        "design": [str(Design.UNIFORM)] * len(ids),
        "seed": [7] * len(ids),
        **columns,
    }
    return pa.table(fields)


def stored(path, table, *, note=NOTE):
    """The file as other software might write it: unchecked."""
    metadata = {} if note is None else {NOTE_KEY: note}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_a_plan_comes_back_with_its_note(tmp_path):
    path = tmp_path / "PLAN.parquet"
    write_plan(path, rows=plan(), note=NOTE)
    table = read_plan(path)
    assert table.schema.equals(PLAN_SCHEMA)
    assert table.to_pydict() == plan().to_pydict()
    assert note_of(table) == NOTE


def test_the_same_plan_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_plan(tmp_path / name, rows=plan(), note=NOTE)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_plan_of_nothing_is_a_plan(tmp_path):
    write_plan(tmp_path / "p", rows=PLAN_SCHEMA.empty_table(), note=NOTE)
    assert read_plan(tmp_path / "p").num_rows == 0


def test_a_file_that_is_there_stays_unless_told_otherwise(tmp_path):
    path = tmp_path / "p"
    path.write_text("mine")
    with pytest.raises(DataError, match="--overwrite"):
        write_plan(path, rows=plan(), note=NOTE)
    assert path.read_text() == "mine"
    write_plan(path, rows=plan(), note=NOTE, overwrite=True)
    assert read_plan(path).num_rows == 2


@given(value=st.floats(allow_nan=True))
def test_only_probabilities_above_nought_and_up_to_one_are_read(value, tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "p"
    content = NOTE.model_dump_json().encode()
    stored(path, plan(inclusion_probability=[value, 1.0]), note=content)
    if 0 < value <= 1:
        assert read_plan(path)["inclusion_probability"].to_pylist() == [value, 1.0]
    else:
        with pytest.raises(DataError, match=r"1 values of inclusion_probability outside \(0, 1\]"):
            read_plan(path)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (plan(ids=("a", "a")), "1 rows repeat a triple_id"),
        (plan(design=["uniform", "by feel"]), "by feel"),
        (plan(seed=["7", "7"]), "column seed"),
        (plan(stratum=["all", None]), "nulls"),
        (plan().drop_columns(["stratum"]), "missing: stratum"),
    ],
)
def test_rows_that_are_no_plan_are_refused_on_both_ways(table, named, tmp_path):
    with pytest.raises(DataError, match=named):
        write_plan(tmp_path / "new", rows=table, note=NOTE)
    assert not (tmp_path / "new").exists()
    path = stored(tmp_path / "p", table, note=NOTE.model_dump_json().encode())
    with pytest.raises(DataError, match=named):
        read_plan(path)


@pytest.mark.parametrize(
    ("note", "named"),
    [
        (None, "no nsgauge_plan"),
        (b"{", "JSON"),
        (json.dumps({**NOTE.model_dump(), "version": 2}).encode(), "version"),
        (json.dumps({**NOTE.model_dump(), "mood": "good"}).encode(), "mood"),
        (json.dumps({**NOTE.model_dump(), "round": 0}).encode(), "round"),
    ],
)
def test_a_file_without_a_note_of_ours_is_refused(note, named, tmp_path):
    path = stored(tmp_path / "p", plan(), note=note)
    with pytest.raises(DataError, match=named) as refused:
        read_plan(path)
    assert "nsgauge plan" in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file; give a file made by `nsgauge plan`"):
        read_plan(tmp_path / "p")
    (tmp_path / "p").write_text("mine")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_plan(tmp_path / "p")
