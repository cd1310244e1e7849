import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsgauge.data.importers.fields import CHARACTERS_LIMIT
from nsgauge.data.importers.reading.delimited import read_csv
from nsgauge.data.importers.reading.records import Record
from nsgauge.errors import DataError

PLAIN = ["prompt=prompt", "response=response"]


def write_csv(path, rows, *, encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows(rows)
    return path


def test_csv_values_stay_as_they_were_typed(run_import, tmp_path):
    cells = [["id", "prompt", "response"], ["007", "null", "NA"], ["1e3", " nan ", "1.0"]]
    path = write_csv(tmp_path / "a.csv", cells, encoding="utf-8-sig")
    outcome = run_import("table", path, mapping=[*PLAIN, "id=triple_id"])
    found = [(t.triple_id, t.prompt, t.response) for t in outcome.triples]
    assert found == [("007", "null", "NA"), ("1e3", " nan ", "1.0")]


BAD_LINES = [
    ('{"prompt": "p"', "bad_json"),
    ("[1, 2]", "not_an_object"),
    ('{"prompt": "p", "prompt": "q", "response": "r"}', "bad_json"),
    ('{"prompt": "p", "response": null}', "missing_value"),
    ('{"prompt": "p"}', "missing_value"),
    ('{"prompt": 5, "response": "r"}', "not_text"),
    ('{"prompt": "p", "response": "r", "sample": "two"}', "bad_number"),
    ('{"prompt": "p", "response": "r", "sample": -1}', "bad_number"),
    ('{"prompt": "p", "response": "r", "vllm": [1]}', "not_a_name"),
    ('{"prompt": "p", "response": "r", "triple_id": ""}', "missing_value"),
    ('{"n": ' + "9" * 5000 + "}", "bad_json"),
    ("[" * 100_000, "bad_json"),
    ('{"prompt": "p", "response": "r", "n": ' + "[" * 100 + "]" * 100 + "}", "too_deep"),
]

FIELDS = [f"{name}={name}" for name in ("prompt", "response", "sample", "vllm", "triple_id")]

GOOD = '{"prompt": "p", "response": "r", "sample": 1, "vllm": "v", "triple_id": "%d"}'


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(picks=st.lists(st.sampled_from(BAD_LINES), max_size=12))
def test_every_line_is_a_triple_or_a_reject_with_its_number(picks, run_import, tmp_path):
    lines = [GOOD % number for number in range(len(picks) + 1)]
    for number, (line, _) in enumerate(picks):
        lines.insert(2 * number, line)
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*lines, "", "  "]) + "\n")
    outcome = run_import("table", path, mapping=FIELDS)
    assert len(outcome.triples) + len(outcome.rejects) == len(lines)
    found = [(reject["where"], reject["reason"]) for reject in outcome.rejects]
    wanted = [(f"a.jsonl:{2 * n + 1}", reason) for n, (_, reason) in enumerate(picks)]
    assert found == wanted
    assert sum(outcome.summary.rejects.values()) == len(picks)


def test_a_line_that_is_not_utf8_is_a_reject_of_its_own(run_import, tmp_path):
    path = tmp_path / "a.jsonl"
    good = b'{"prompt": "p", "response": "r"}\n'
    path.write_bytes(b"\xef\xbb\xbf" + good + b'{"prompt": "\xff"}\n' + good)
    outcome = run_import("table", path)
    assert outcome.summary.rejects == {"bad_utf8": 1}
    assert outcome.rejects[0]["where"] == "a.jsonl:2"


def test_a_row_with_too_many_cells_is_a_reject(run_import, tmp_path):
    cells = [["prompt", "response"], ["p", "r"], ["p", "r", "x"], ["p", "s"], ["p", "t"], ["p"]]
    outcome = run_import("table", write_csv(tmp_path / "a.csv", cells))
    assert [r["where"] for r in outcome.rejects] == ["a.csv row 2", "a.csv row 5"]
    assert outcome.summary.rejects == {"ragged_row": 2}
    assert outcome.summary.triples == 3


def test_a_long_field_of_a_csv_is_read_and_a_dump_is_a_reject(run_import, tmp_path):
    cells = [
        ["prompt", "response"],
        ["p", "a" * CHARACTERS_LIMIT],
        ["p", "a b"],
        ["p", "a" * (CHARACTERS_LIMIT + 1)],
    ]
    before = csv.field_size_limit()
    outcome = run_import("table", write_csv(tmp_path / "a.csv", cells))
    assert [len(t.response) for t in outcome.triples] == [CHARACTERS_LIMIT, 3]
    assert outcome.summary.rejects == {"response_too_long": 1}
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xls", b"", "unknown suffix '.xls'; known: .csv, .json"),
        ("a.xlsx", b"", "not a readable ZIP file"),
        ("a.csv", b"", "wanted distinct column names"),
        ("a.csv", b"a,a\n1,2\n", "wanted distinct column names"),
        ("a.csv", b"prompt,response\n\xff,r\n", "save it as UTF-8"),
        ("a.csv", b'prompt,response\n"p,r\n', "not CSV"),
        ("a.csv", b"prompt,response\n", "no readable rows"),
        ("a.json", b'{"logs": []}', "holds dict, wanted a list"),
        ("a.json", b"[1,", "not JSON in UTF-8"),
        ("a.jsonl", b"oops\n", "no readable rows \\(1 unreadable\\)"),
        ("a.parquet", b"oops", "not a readable Parquet file"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_an_error(name, content, message, run_import, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        run_import("table", tmp_path / name)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_may_have_the_signs_that_excel_writes_elsewhere(tmp_path, delimiter):
    path = tmp_path / "rows.csv"
    lines = [["prompt", "response"], ["a", "b"], ['"x;y\tz,"', "c"]]
    path.write_text("\n".join(delimiter.join(line) for line in lines), encoding="utf-8-sig")
    found = [row.values for row in read_csv(path) if isinstance(row, Record)]
    wanted = [{"prompt": "a", "response": "b"}, {"prompt": "x;y\tz,", "response": "c"}]
    assert found == wanted
