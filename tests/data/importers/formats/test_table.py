import csv
import json
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsgauge.errors import DataError

ROWS = [
    {"question": "What is it?", "answer": "A kite.", "model": "north", "n": 7},
    {"question": "And this?", "answer": 'A\nboat, "red".', "model": "south", "n": 8},
]

MAPPING = ["question=prompt", "answer=response", "model=vllm"]


@pytest.mark.parametrize(
    "suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx"]
)
def test_every_kind_of_table_gives_the_same_triples(suffix, run_import, jsonl, xlsx, tmp_path):
    path = tmp_path / f"rows{suffix}"
    if suffix in {".csv", ".tsv"}:
        cells: list[list[object]] = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="," if suffix == ".csv" else "\t").writerows(cells)
    elif suffix == ".xlsx":
        xlsx(ROWS, name=path.name)
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS))
    else:
        jsonl(ROWS, name=path.name)
    outcome = run_import("table", path, mapping=MAPPING, benchmark="kites")
    assert [(t.prompt, t.response, t.vllm) for t in outcome.triples] == [
        ("What is it?", "A kite.", "north"),
        ("And this?", 'A\nboat, "red".', "south"),
    ]
    assert {t.benchmark for t in outcome.triples} == {"kites"}
    assert [str(json.loads(t.extras)["n"]) for t in outcome.triples] == ["7", "8"]
    assert outcome.verdicts == []
    # Ids are made of contents, so they don't depend on the kind of file.
    again = run_import("table", jsonl(ROWS), mapping=MAPPING, benchmark="kites")
    assert [t.triple_id for t in again.triples] == [t.triple_id for t in outcome.triples]


def test_a_workbook_is_a_table_unless_it_has_the_columns_of_a_harness(run_import, xlsx):
    row = {"prompt": "p", "response": "r", "safety": "unsafe", "triple_id": "007"}
    outcome = run_import("auto", xlsx([row]))
    assert [(t.triple_id, t.prompt) for t in outcome.triples] == [("007", "p")]
    assert [v.safety for v in outcome.verdicts] == ["unsafe"]
    both = {**row, "index": 1, "question": "q", "prediction": "a"}
    path = xlsx([both], name="North_SIUO.xlsx")
    assert run_import("auto", path).triples[0].triple_id == "SIUO/1/North"
    assert run_import("table", path).triples[0].triple_id == "007"


def test_a_text_that_a_workbook_cut_is_told_of(run_import, xlsx):
    rows = [{"prompt": "p", "response": "x" * length} for length in (32_766, 32_767)]
    outcome = run_import("auto", xlsx(rows))
    assert outcome.triples[0].extras is None
    assert json.loads(outcome.triples[1].extras) == {"cut_by_excel": ["response"]}
    assert [note[:47] for note in outcome.summary.notes] == [
        "1 rows have a text that xlsx cut at 32767 chara"
    ]


def test_types_of_parquet_that_other_tools_write_are_read(run_import, tmp_path):
    columns = {
        "prompt": pa.array(["p", "p"]).dictionary_encode(),
        "response": pa.array(["r", "s"], pa.large_string()),
        "triple_id": pa.array([7, 2**40], pa.int64()),
        "sample": pa.array([0, 1], pa.int8()),
        "safety": pa.array([1, 0], pa.uint64()),
        "loss": pa.array([float("nan"), 0.5]),
        "day": pa.array([date(2025, 1, 2)] * 2),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    labels = ["safety:1=unsafe", "safety:0=safe"]
    outcome = run_import("auto", tmp_path / "a.parquet", labels=labels)
    found = [(t.triple_id, t.response, t.sample) for t in outcome.triples]
    assert found == [("7", "r", 0), (str(2**40), "s", 1)]
    assert [v.safety for v in outcome.verdicts] == ["unsafe", "safe"]
    extras = [t.extras for t in outcome.triples]
    assert extras == ['{"loss": "NaN", "day": "2025-01-02"}', '{"loss": 0.5, "day": "2025-01-02"}']


def test_vllm_and_judge_are_named_where_no_column_does(run_import, jsonl):
    rows = [{"prompt": "p", "response": "r", "safety": "unsafe"}]
    outcome = run_import("table", jsonl(rows), vllm="north", judge="gpt")
    assert [t.vllm for t in outcome.triples] == ["north"]
    assert [(v.judge, v.safety) for v in outcome.verdicts] == [("gpt", "unsafe")]
    told = [{**rows[0], "vllm": "south", "judge": "people"}]
    outcome = run_import("table", jsonl(told), vllm="north", judge="gpt")
    assert [t.vllm for t in outcome.triples] == ["south"]
    assert [v.judge for v in outcome.verdicts] == ["people"]
    # A judge's name alone is no verdict.
    outcome = run_import("table", jsonl([{"prompt": "p", "response": "r"}]), judge="gpt")
    assert outcome.verdicts == []


def test_a_folder_of_tables_is_one_table_whose_files_can_name_the_vllm(run_import, jsonl, tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    for vllm in ("south", "north"):
        jsonl([{"prompt": "p", "response": f"of {vllm}"}], name=f"outputs/{vllm}.jsonl")
    (folder / "notes.md").write_text("not a table")
    plain = run_import("auto", folder)
    assert [(t.response, t.vllm) for t in plain.triples] == [("of north", ""), ("of south", "")]
    assert plain.triples[0].extras is None
    pairs = ["prompt=prompt", "response=response", "file=vllm"]
    named = run_import("table", folder, mapping=pairs)
    assert [(t.response, t.vllm) for t in named.triples] == [
        ("of north", "north"),
        ("of south", "south"),
    ]
    source = json.loads((named.out / "source.json").read_text())
    assert sorted(source["files"]) == ["north.jsonl", "south.jsonl"]


def test_columns_that_no_field_reads_are_told_of(run_import, jsonl):
    row = {"prompt": "p", "response": "r", **{f"c{n}": n for n in range(14)}}
    (note,) = run_import("table", jsonl([row])).summary.notes
    assert note.startswith("columns kept as extras, read as no field: c0, c1, ")
    assert note.endswith("c11 and 2 more")


def test_columns_that_only_a_later_file_has_are_read_too(run_import, jsonl, tmp_path):
    (tmp_path / "outputs").mkdir()
    jsonl([{"prompt": "p", "response": f"{n}"} for n in range(120)], name="outputs/a.jsonl")
    labelled = [{"prompt": "q", "response": f"{n}", "safety": "unsafe"} for n in range(3)]
    jsonl(labelled, name="outputs/b.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl:1: safety is '', which has no meaning"):
        run_import("table", tmp_path / "outputs")
    outcome = run_import("table", tmp_path / "outputs", judge="me", labels=["safety:=unjudged"])
    assert len(outcome.triples) == len(outcome.verdicts) == 123
    said = [(v.judge, v.safety) for v in outcome.verdicts if v.safety]
    assert said == [("me", "unsafe")] * 3
