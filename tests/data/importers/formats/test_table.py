import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nsgauge.data.importers import contract
from nsgauge.data.importers.fields import CHARACTERS_LIMIT
from nsgauge.errors import DataError, SettingsError
from nsgauge.records import ResponseState

PLAIN = ["prompt=prompt", "response=response"]
SHARED_FOLDER = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_csv(path, rows, *, delimiter=",", encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


ROWS = [
    {"question": "What is it?", "answer": "A kite.", "model": "north", "n": 7},
    {"question": "And this?", "answer": 'A\nboat, "red".', "model": "south", "n": 8},
]
MAPPING = ["question=prompt", "answer=response", "model=vllm"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"])
def test_every_kind_of_table_gives_the_same_triples(suffix, run_import, jsonl, tmp_path):
    path = tmp_path / f"rows{suffix}"
    if suffix in {".csv", ".tsv"}:
        cells = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
        write_csv(path, cells, delimiter="," if suffix == ".csv" else "\t")
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
]
FIELDS = [f"{name}={name}" for name in ("prompt", "response", "sample", "vllm", "triple_id")]
GOOD = '{"prompt": "p", "response": "r", "sample": 1, "vllm": "v", "triple_id": "%d"}'


@SHARED_FOLDER
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


@SHARED_FOLDER
@given(text=st.text(st.sampled_from("a\ud800\udfff\x00\u200d\u202e")))
def test_characters_that_no_file_can_hold_become_the_replacement(text, run_import, jsonl):
    path = jsonl([{"prompt": "p", "response": text}])
    outcome = run_import("table", path)
    wanted = "".join("\ufffd" if c in "\ud800\udfff\x00" else c for c in text)
    # Two halves of one character in JSON are that character.
    if "\ud800\udfff" not in text:
        assert outcome.triples[0].response == wanted
        assert bool(outcome.summary.notes) == (wanted != text)


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


def test_an_empty_response_is_kept_as_empty(run_import, jsonl):
    rows = [{"prompt": "", "response": text} for text in ("", " \n", "x")]
    outcome = run_import("table", jsonl(rows))
    states = [t.response_state for t in outcome.triples]
    assert states == [ResponseState.EMPTY, ResponseState.EMPTY, ResponseState.ANSWERED]


def test_pictures_are_copied_and_bad_ones_are_rejects(run_import, jsonl, tmp_path):
    (tmp_path / "pics" / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "pics" / "deep" / "a.png")
    (tmp_path / "pics" / "page.jpg").write_text("<html>")
    (tmp_path / "secret.png").write_bytes((tmp_path / "pics" / "deep" / "a.png").read_bytes())
    names = [
        "deep/a.png",
        "deep\\a.png",
        "",
        None,
        "./deep/a.png",
        "page.jpg",
        "gone.png",
        "../secret.png",
    ]
    rows = [{"prompt": "p", "response": str(n), "image": name} for n, name in enumerate(names)]
    path = jsonl(rows)
    outcome = run_import("table", path, image_root=str(tmp_path / "pics"))
    images = [t.image for t in outcome.triples]
    assert images[0] == images[1] == images[4] is not None
    assert images[2:4] == [None, None]
    assert (outcome.out / images[0]).is_file()
    assert outcome.summary.images == 1
    assert outcome.summary.rejects == {
        "image_missing": 1,
        "image_not_an_image": 1,
        "image_unsafe_path": 1,
    }


def test_pictures_lie_beside_the_source_by_default_or_in_it_as_bytes(run_import, jsonl, tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    rows = [{"prompt": "p", "response": "r", "image": {"bytes": (tmp_path / "a.png").read_bytes()}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    mapping = [*PLAIN, "image.bytes=image"]
    inside = run_import("table", tmp_path / "a.parquet", mapping=mapping)
    path = jsonl([{"prompt": "p", "response": "r", "image": "a.png"}])
    assert run_import("table", path).triples[0].image == inside.triples[0].image


def test_items_without_an_id_are_told_by_benchmark_prompt_and_picture(run_import, jsonl):
    rows = [
        {"prompt": p, "response": r, "vllm": v}
        for p, r, v in [("p", "a", "n"), ("p", "b", "s"), ("q", "a", "n")]
    ]
    items = [t.item_id for t in run_import("table", jsonl(rows)).triples]
    assert items[0] == items[1] != items[2]


def test_equal_answers_without_ids_are_answers_of_their_own(run_import, jsonl):
    rows = [{"prompt": "p", "response": "Sorry."}] * 3
    outcome = run_import("table", jsonl(rows))
    ids = [t.triple_id for t in outcome.triples]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]


def test_duplicate_ids_are_an_error_that_names_them(run_import, jsonl):
    rows = [{"prompt": "p", "response": "r", "triple_id": f"x{n % 2}"} for n in range(4)]
    with pytest.raises(DataError, match=r"2 values of triple_id come more than once.*x0, x1"):
        run_import("table", jsonl(rows))


def test_rows_of_votes_share_their_triple(run_import, jsonl):
    rows = [
        {
            "triple_id": "t",
            "prompt": "p",
            "response": "r",
            "judge": judge,
            "vote": vote,
            "safety": safety,
            "confidence": 0.5 + vote,
        }
        for judge, vote, safety in [("a", 0, "safe"), ("a", 1, "unsafe"), ("b", 0, "safe")]
    ]
    outcome = run_import("table", jsonl(rows))
    assert len(outcome.triples) == 1
    assert [(v.judge, v.vote) for v in outcome.verdicts] == [("a", 0), ("a", 1), ("b", 0)]
    assert outcome.summary.notes == ["2 rows are further votes on the triple of an earlier row"]


def test_rows_of_votes_that_contradict_each_other_are_an_error(run_import, jsonl):
    rows = [
        {"triple_id": "t", "prompt": "p", "response": text, "vote": vote, "safety": "safe"}
        for vote, text in enumerate(["r", "s"])
    ]
    with pytest.raises(DataError, match=r"a\.jsonl:2: triple 't' has other contents"):
        run_import("table", jsonl(rows))
    twice = [{**rows[0]}, {**rows[0]}]
    with pytest.raises(DataError, match="triple_id, judge, vote"):
        run_import("table", jsonl(twice))


def test_too_many_rejects_stop_the_import(run_import, jsonl, monkeypatch):
    rows = [{"prompt": "p", "response": "r"}, *[{"prompt": "p", "response": None}] * 2]
    path = jsonl(rows)
    with pytest.raises(DataError, match=r"2 of 3 rows rejected; missing_value \(2\); the first at"):
        run_import("table", path)
    monkeypatch.setattr(contract, "REJECTS_LIMIT", 1)
    with pytest.raises(DataError, match="more than 1 rejects"):
        run_import("table", path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", b"", "unknown suffix '.xlsx'; known: .csv, .json"),
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


def test_what_cannot_start_says_why(run_import, tmp_path):
    with pytest.raises(SettingsError, match=r"no format 'excel'; known: auto, .*msts"):
        run_import("excel", tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        run_import("table", tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="not a file"):
        run_import("table", tmp_path / "folder.csv")


def test_a_failed_import_leaves_nothing_behind(run_import, jsonl, tmp_path):
    rows = [{"prompt": "p", "response": "r", "safety": "maybe"}]
    path = jsonl(rows)
    with pytest.raises(DataError, match="no meaning"):
        run_import("table", path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_votes_states_and_extras_survive_the_generic_table(run_import, round_trips, jsonl):
    rows = [
        {"prompt": "p", "response": "r", "triple_id": "007", "judge": "j", "vote": vote, **said}
        for vote, said in enumerate(
            [
                {"safety": "unsafe", "grounding": "not_grounded", "hallucinated": True},
                {"safety": "safe", "state": "answered", "reason": "fine", "category": 3},
                {"state": "truncated", "prompt_hash": "ab", "inclusion_probability": 0.25},
            ]
        )
    ]
    silent = {"prompt": "p", "response": " ", "triple_id": "NA", "vllm": "v", "note": [1, None]}
    outcome = run_import("table", jsonl([*rows, silent]))
    assert [verdict.state for verdict in outcome.verdicts] == ["answered", "answered", "truncated"]
    assert outcome.verdicts[2].inclusion_probability == 0.25
    assert [triple.response_state for triple in outcome.triples] == ["answered", "empty"]
    assert json.loads(outcome.triples[1].extras) == {"note": [1, None]}
    round_trips(outcome)


BAD_FIELDS = [
    ({"state": "answered"}, "bad_verdict"),
    ({"state": "refused", "safety": "safe"}, "bad_verdict"),
    ({"state": "bored"}, "bad_word"),
    ({"response_state": "late"}, "bad_word"),
    ({"safety": "safe", "inclusion_probability": 0}, "bad_verdict"),
    ({"safety": "safe", "inclusion_probability": True}, "bad_number"),
    ({"extras": "{"}, "bad_extras"),
    ({"extras": [1]}, "bad_extras"),
]


@pytest.mark.parametrize(("said", "reason"), BAD_FIELDS)
def test_a_field_that_contradicts_itself_is_a_reject(said, reason, run_import, jsonl):
    plain = {"prompt": "p", "response": "r", "state": None, "safety": None, "grounding": None}
    columns = {**plain, "judge": "j", "response_state": None, "inclusion_probability": None}
    good = {**columns, "safety": "safe", "extras": None}
    outcome = run_import("table", jsonl([{**good, "prompt": "q"}, {**columns, **said}]))
    assert outcome.summary.rejects == {reason: 1}


def test_reasoning_is_taken_off_on_request_and_kept_aside(run_import, jsonl, round_trips):
    texts = {
        "<think>A kite? Yes.</think>\n A kite.": "A kite.",
        "Hm.</think>A kite.": "A kite.",
        "<SUMMARY>s</SUMMARY><CAPTION>c</CAPTION><CONCLUSION> A kite. </CONCLUSION>": "A kite.",
        "<think>a <answer>boat</answer>?</think><answer>A kite.</answer>": "A kite.",
        "<think>never en": "",
        "Plain <b>text</b> ": "Plain <b>text</b> ",
    }
    source = jsonl([{"prompt": "p", "response": text} for text in texts])
    assert [triple.response for triple in run_import("table", source).triples] == list(texts)
    outcome = run_import("table", source, strip_reasoning=True)
    assert [triple.response for triple in outcome.triples] == list(texts.values())
    assert outcome.triples[4].response_state is ResponseState.EMPTY
    kept = json.loads(outcome.triples[0].extras)["response_with_reasoning"]
    assert kept == next(iter(texts))
    assert outcome.triples[5].extras is None
    round_trips(outcome)
