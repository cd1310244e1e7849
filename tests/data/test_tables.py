import hashlib
import json
import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nsgauge.data.images import ImageStore
from nsgauge.data.tables import (
    DataSummary,
    Reject,
    SourceNote,
    data_fingerprint,
    iter_triples,
    read_triples,
    read_verdicts,
    triples_of,
    verdicts_of,
    write_data,
)
from nsgauge.errors import DataError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import TRIPLES_SCHEMA, ResponseState, Triple, Verdict, VerdictState

NOTE = SourceNote(importer="test")
CLEAN = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def triple(number, **changes):
    fields = {"prompt": "What is this?", "response": f"Answer {number}", "item_id": f"i{number}"}
    return Triple(triple_id=f"t{number}", benchmark="b", vllm="v", **{**fields, **changes})


def verdict(number, **changes):
    fields = {"judge": "j", "safety": Safety.SAFE, **changes}
    return Verdict(triple_id=f"t{number}", **fields)


def write(out, *, triples=(), verdicts=(), rejects=(), source=NOTE, overwrite=False):
    return write_data(
        out,
        triples=triples,
        verdicts=verdicts,
        rejects=rejects,
        source=source,
        overwrite=overwrite,
    )


@pytest.fixture
def data(tmp_path):
    out = tmp_path / "data"
    write(out, triples=[triple(n) for n in range(5)], verdicts=[verdict(n) for n in range(5)])
    return out


def rewrite(data, change):
    path = data / "triples.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def changed(column, values):
    def change(table):
        return table.set_column(table.schema.get_field_index(column), column, values)

    return change


def test_what_was_written_is_read_back(tmp_path):
    triples = [
        triple(0, caption="a cat", language="de", extras='{"a": 1}', sample=3),
        triple(1, response="", response_state=ResponseState.EMPTY),
        triple(2, response="API error", response_state=ResponseState.NOT_A_RESPONSE),
    ]
    verdicts = [
        verdict(0, grounding=Grounding.NOT_GROUNDED, hallucinated=True, reason="r", vote=1),
        verdict(0, state=VerdictState.REFUSED, safety=None),
        verdict(1, judge="k", safety=None, grounding=Grounding.GROUNDED, category="1.1"),
    ]
    summary = write(tmp_path / "data", triples=triples, verdicts=verdicts)
    assert triples_of(read_triples(tmp_path / "data")) == triples
    assert verdicts_of(read_verdicts(tmp_path / "data")) == verdicts
    assert summary == DataSummary(triples=3, verdicts=3, images=0, rejects={}, notes=[])


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.tuples(CLEAN, CLEAN, st.none() | CLEAN), max_size=5))
def test_any_text_survives(texts, tmp_path_factory):
    triples = [
        triple(number, prompt=prompt, response=response, caption=caption)
        for number, (prompt, response, caption) in enumerate(texts)
    ]
    out = tmp_path_factory.mktemp("any") / "data"
    write(out, triples=triples)
    assert triples_of(read_triples(out)) == triples


def test_rejects_and_the_source_are_kept_beside_the_rows(tmp_path):
    rejects = [Reject("a.csv row 2", "not_text", "é"), Reject("a.csv row 9", "not_text", "x")]
    notes = ["early"]

    def one_triple():
        yield triple(0)
        notes.append("late")

    source = SourceNote(importer="t", options={"a": [1]}, files={"a.csv": "ff"}, notes=notes)
    summary = write(tmp_path / "data", triples=one_triple(), rejects=rejects, source=source)
    lines = (tmp_path / "data" / "rejects.jsonl").read_text().splitlines()
    assert [Reject(**json.loads(line)) for line in lines] == rejects
    told = json.loads((tmp_path / "data" / "source.json").read_text())
    assert told["nsgauge_data"] == 1
    assert (told["importer"], told["options"], told["files"]) == ("t", {"a": [1]}, {"a.csv": "ff"})
    assert summary.rejects == {"not_text": 2} == told["counts"]["rejects"]
    assert summary.notes == ["early", "late"] == told["counts"]["notes"]


def test_without_verdicts_there_is_no_file_and_no_row(tmp_path):
    write(tmp_path / "data", triples=[triple(0)])
    assert not (tmp_path / "data" / "verdicts.parquet").exists()
    assert read_verdicts(tmp_path / "data").num_rows == 0


def test_pictures_come_along(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    store = ImageStore(tmp_path / "staged")
    name = store.add_file(tmp_path, "red.png")
    source = SourceNote(importer="t", image_root=store.root)
    rows = [triple(0, image=name), triple(1, image=name), triple(2)]
    assert write(tmp_path / "data", triples=rows, source=source).images == 1
    assert (tmp_path / "data" / name).read_bytes() == (tmp_path / "red.png").read_bytes()
    assert str(tmp_path) not in (tmp_path / "data" / "source.json").read_text()


def test_a_picture_that_was_not_stored_stops_the_writing(tmp_path):
    rows = [triple(0, image="images/none.png")]
    with pytest.raises(DataError, match="image_root"):
        write(tmp_path / "data", triples=rows)
    with pytest.raises(DataError, match="ImageStore"):
        write(tmp_path / "data", triples=rows, source=replace(NOTE, image_root=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_duplicate_ids_are_refused_and_the_first_twenty_named(tmp_path):
    rows = [triple(number) for number in (*range(30), *range(30))]
    with pytest.raises(DataError, match="30 values of triple_id") as caught:
        write(tmp_path / "data", triples=rows)
    assert all(f"t{number}" in str(caught.value) for number in range(20))
    assert "t20" not in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        ([verdict(0), verdict(0, safety=Safety.UNSAFE)], "triple_id, judge, vote"),
        ([verdict(7)], "unknown triple"),
    ],
)
def test_verdicts_must_be_distinct_and_of_a_triple(verdicts, message, tmp_path):
    with pytest.raises(DataError, match=message):
        write(tmp_path / "data", triples=[triple(0)], verdicts=verdicts)


def test_a_triple_without_id_or_with_a_lone_surrogate_is_refused(tmp_path):
    with pytest.raises(DataError, match="no triple_id"):
        write(tmp_path / "data", triples=[Triple(prompt="p", response="r")])
    with pytest.raises(DataError, match="surrogates"):
        write(tmp_path / "data", triples=[triple(0, response="\ud800")])


def test_an_error_while_reading_leaves_the_earlier_folder_alone(data):
    before = data_fingerprint(data)

    def broken():
        yield triple(0)
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"):
        write(data, triples=broken(), overwrite=True)
    assert data_fingerprint(data) == before
    assert [path.name for path in data.parent.iterdir()] == ["data"]


def test_a_data_folder_is_replaced_only_when_asked(data):
    with pytest.raises(DataError, match="overwrite"):
        write(data, triples=[triple(9)])
    write(data, triples=[triple(9)], overwrite=True)
    assert read_triples(data)["triple_id"].to_pylist() == ["t9"]
    assert [path.name for path in data.parent.iterdir()] == ["data"]


@pytest.mark.parametrize("name", ["thesis.tex", "source.json"])
def test_what_is_not_ours_is_never_replaced(name, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text("{}")
    with pytest.raises(DataError, match="no data folder"):
        write(tmp_path / "data", overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        write(tmp_path / "file", overwrite=True)


def test_our_folder_with_a_foreign_file_in_it_is_not_replaced(data):
    (data / "my-notes.txt").touch()
    with pytest.raises(DataError, match=r"my-notes\.txt"):
        write(data, overwrite=True)


def test_an_empty_folder_may_become_the_data_folder(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", triples=[triple(0)])
    assert read_triples(tmp_path / "data").num_rows == 1


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_small_tables_end_to_end_are_the_whole(data, rows):
    parts = list(iter_triples(data, rows=rows))
    assert all(part.num_rows <= rows for part in parts)
    assert pa.concat_tables(parts).equals(read_triples(data))


def test_what_was_read_is_let_go(tmp_path):
    data, texts = tmp_path / "data", np.random.default_rng(0)
    answers = [texts.bytes(30_000).hex() for _ in range(200)]
    write(data, triples=[triple(n, response=text) for n, text in enumerate(answers)])
    path = data / "triples.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=10)
    before, most = pa.total_allocated_bytes(), 0
    for _ in iter_triples(data, rows=10):
        most = max(most, pa.total_allocated_bytes() - before)
    # A group has 0.6 MB; all of them, even compressed, 6 MB and more.
    assert most < 3e6


def test_a_further_column_is_logged_and_left_out(data, caplog):
    rewrite(data, lambda table: table.append_column("mood", pa.array(["calm"] * 5)))
    with caplog.at_level(logging.WARNING):
        assert read_triples(data).schema.equals(TRIPLES_SCHEMA)
    assert "mood" in caplog.text


def test_wider_types_and_other_orders_are_cast(data):
    before = read_triples(data)

    def widen(table):
        table = changed("sample", table["sample"].cast(pa.int64()))(table)
        table = changed("response", table["response"].cast(pa.large_string()))(table)
        table = changed("vllm", table["vllm"].dictionary_encode())(table)
        table = changed("caption", pa.nulls(5))(table)
        return table.select(table.column_names[::-1])

    rewrite(data, widen)
    assert read_triples(data).equals(before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["vllm"]), r"columns triple_id.*missing: vllm"),
        (changed("triple_id", pa.array(range(5))), "triple_id is int64"),
        (changed("sample", pa.array([0.5] * 5)), "sample is double"),
        (changed("sample", pa.array([2**40] * 5)), "sample is int64"),
        (changed("prompt", pa.array(["a", None, "a", "a", "a"])), "prompt has 1 nulls"),
        (changed("response_state", pa.array(["odd"] * 5)), "'odd'; known: answered, empty"),
    ],
)
def test_any_other_drift_is_an_error_that_says_so(data, change, message):
    rewrite(data, change)
    with pytest.raises(DataError, match=message):
        read_triples(data)
    with pytest.raises(DataError, match=message):
        list(iter_triples(data, rows=2))


def test_verdicts_of_before_plans_had_rounds_have_none(data):
    path, before = data / "verdicts.parquet", read_verdicts(data)
    pq.write_table(pq.read_table(path).drop_columns(["plan_round"]), path)
    assert read_verdicts(data).equals(before)
    pq.write_table(pq.read_table(path).drop_columns(["judge"]), path)
    with pytest.raises(DataError, match="missing: judge"):
        read_verdicts(data)


def test_verdicts_whose_state_and_labels_disagree_are_refused(data):
    path = data / "verdicts.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(3, "state", pa.array(["refused"] * 5)), path)
    with pytest.raises(DataError, match="5 verdicts"):
        read_verdicts(data)


def test_no_folder_and_no_parquet_are_told_apart(tmp_path):
    for read in (read_triples, read_verdicts, data_fingerprint):
        with pytest.raises(DataError, match="nsgauge import"):
            read(tmp_path)
    (tmp_path / "triples.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_triples(tmp_path)


def test_the_fingerprint_follows_both_tables(data):
    first = data_fingerprint(data)
    digests = [
        hashlib.sha256((data / name).read_bytes()).hexdigest()
        for name in ("triples.parquet", "verdicts.parquet")
    ]
    text = f"triples.parquet:{digests[0]}\nverdicts.parquet:{digests[1]}\n"
    assert first == hashlib.sha256(text.encode()).hexdigest()
    (data / "verdicts.parquet").unlink()
    assert data_fingerprint(data) != first
