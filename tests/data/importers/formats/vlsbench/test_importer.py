import json

import pytest
from PIL import Image

from nsgauge.errors import DataError, SettingsError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import VerdictState

ROOT = "/home/somebody/vlsbench/"
NAMES = {1: "Safe with refusal", 2: "Safe with warning", 3: "Unsafe"}


def item(number, instruction, *, picture=None, old=False):
    """An object of data.json; older copies lack its last two keys."""
    columns = {
        "instruction_id": number,
        "instruction": instruction,
        "image_path": f"imgs/{number if picture is None else picture}.png",
        "category": "Privacy",
        "sub_category": "Letters",
        "source": "drawn",
    }
    told = {"image_description": f"A drawing {number}", "safety_reason": f"Reason {number}"}
    return columns if old else {**columns, **told}


DATASET = [item(40, "What is it?"), item(41, "And\n this?"), item(42, "What is it?", picture=41)]


def log(position, question, picture, label=None, **further):
    row = {
        "id": position,
        "question": question,
        "image_path": f"{ROOT}imgs/{picture}.png",
        "pred_answer": f"Answer {position}",
    }
    judged = {} if label is None else {"safe_label": label, "label_str": NAMES.get(label, "")}
    return {**row, **judged, **further}


LOGS = [
    log(0, "What is it?", 41, 2),
    log(1, "And this?", 41, 3),
    log(2, "What is it?", 40, 1),
]
STATS = {"safe_rate": 66.67, "safe_refuse_rate": 33.33, "safe_warning_rate": 33.33}


@pytest.fixture
def write(tmp_path):
    def written(rows, name="llava_outputs.json", *, plain=False):
        path = tmp_path / name
        content = rows if plain else {"stats": STATS, "logs": rows}
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return path

    return written


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "vlsbench"
    (folder / "imgs").mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(folder / "imgs" / "40.png")
    (folder / "data.json").write_text(json.dumps(DATASET))
    return folder / "data.json"


def extras(triple):
    return json.loads(triple.extras)


def test_a_judged_run_is_joined_with_its_data_set(run_import, round_trips, write, dataset):
    outcome = run_import("auto", write(LOGS), dataset=str(dataset), judge="gpt-4o")
    assert [(t.triple_id, t.item_id, t.vllm) for t in outcome.triples] == [
        ("42/llava", "42", "llava"),
        ("41/llava", "41", "llava"),
        ("40/llava", "40", "llava"),
    ]
    assert {t.benchmark for t in outcome.triples} == {"VLSBench"}
    first = outcome.triples[0]
    assert (first.prompt, first.response) == ("What is it?", "Answer 0")
    assert first.caption == "A drawing 42"
    assert extras(first) == {
        "category": "Privacy",
        "sub_category": "Letters",
        "source": "drawn",
        "safety_reason": "Reason 42",
        "image_path": "imgs/41.png",
        "position": 0,
    }
    assert outcome.said("gpt-4o") == {
        "42/llava": (Safety.SAFE, None),
        "41/llava": (Safety.UNSAFE, None),
        "40/llava": (Safety.SAFE, None),
    }
    assert [v.category for v in outcome.verdicts] == [NAMES[2], NAMES[3], NAMES[1]]
    # The pictures lie beside the data set; one of them is there.
    assert [t.image is None for t in outcome.triples] == [True, True, False]
    assert outcome.summary.notes == [
        "2 rows name a picture that isn't here; give --image-root, the folder that holds them"
    ]
    assert set(json.loads((outcome.out / "source.json").read_text())["files"]) == {
        "llava_outputs.json",
        "dataset/data.json",
    }
    round_trips(outcome)


def test_without_the_data_set_items_are_questions_about_a_picture(run_import, write, round_trips):
    outcome = run_import("vlsbench", write([*LOGS, log(3, "What is it?", 41, 3)]))
    items = [t.item_id for t in outcome.triples]
    assert [name.partition(":")[0] for name in items] == [
        f"imgs/{number}.png" for number in (41, 41, 40, 41)
    ]
    assert items[0] == items[3] != items[1]
    assert [t.sample for t in outcome.triples] == [0, 0, 0, 1]
    assert outcome.triples[3].triple_id == f"{items[0]}/llava#1"
    assert {v.judge for v in outcome.verdicts} == {"vlsbench-judge"}
    notes = " ".join(outcome.summary.notes)
    assert "--judge" in notes
    assert "--dataset" in notes
    round_trips(outcome)
    # The position in a run changes nothing, nor does the folder it was made in.
    moved = [{**log(9, "And this?", 41, 3), "image_path": "D:\\data\\imgs\\41.png"}]
    assert run_import("vlsbench", write(moved)).triples[0].item_id == items[1]


def test_a_warning_is_grounded_only_where_the_user_says_so(run_import, write, dataset):
    def said(*labels):
        outcome = run_import(
            "vlsbench", write(LOGS), dataset=str(dataset), judge="j", labels=labels
        )
        return list(outcome.said("j").values())

    assert said("safe_label:2=grounded") == [
        (Safety.SAFE, Grounding.GROUNDED),
        (Safety.UNSAFE, None),
        (Safety.SAFE, None),
    ]
    both = ("safe_label:2=grounded", "safe_label:3=not_grounded", "safe_label:1=unsafe")
    assert said(*both) == [
        (Safety.SAFE, Grounding.GROUNDED),
        (Safety.UNSAFE, Grounding.NOT_GROUNDED),
        (Safety.UNSAFE, None),
    ]
    assert said("safe_label:1=unparsable")[2] == (None, None)


def test_a_missing_label_is_a_failure_and_never_safe(run_import, write):
    silent: list[object] = [None, "", {}, [], "absent"]
    rows = [
        {**log(n, f"q{n}", n, 3), "safe_label": value, "label_str": None}
        for n, value in enumerate(silent)
    ]
    del rows[-1]["safe_label"]
    outcome = run_import("vlsbench", write([*rows, log(9, "q", 9, 1)]))
    states = [v.state for v in outcome.verdicts]
    assert states == [VerdictState.FAILED] * 5 + [VerdictState.ANSWERED]
    assert [v.safety for v in outcome.verdicts] == [None] * 5 + [Safety.SAFE]


def test_a_label_that_contradicts_its_name_is_unparsable(run_import, write):
    rows = [log(0, "q", 0, 3, label_str="Safe with warning"), log(1, "q", 1, 3, label_str="Hm")]
    outcome = run_import("vlsbench", write(rows))
    assert [v.state for v in outcome.verdicts] == ["unparsable", "answered"]
    assert extras(outcome.triples[0])["contradictory_label"] == 3


def test_labels_of_other_types_mean_the_same_and_unknown_ones_stop(run_import, write):
    rows = [log(n, "q", n, label, label_str=None) for n, label in enumerate(["1", 2.0, " 3 "])]
    outcome = run_import("vlsbench", write(rows))
    assert [v.safety for v in outcome.verdicts] == ["safe", "safe", "unsafe"]
    for odd in (4, "unsafe-ish", float("nan")):
        path = write([log(0, "q", 0, 1), log(1, "q", 1, odd)])
        with pytest.raises(DataError, match=r"row 2: safe_label is .* has no meaning for safety"):
            run_import("vlsbench", path)
    outcome = run_import("vlsbench", path, labels=["safe_label:NaN=failed"])
    assert [v.state for v in outcome.verdicts] == ["answered", "failed"]


def test_a_run_that_nobody_judged_has_no_verdicts(run_import, write, jsonl, round_trips):
    rows = [log(n, "q", n) for n in range(3)]
    outcome = run_import("auto", write(rows))
    assert (len(outcome.triples), outcome.verdicts) == (3, [])
    round_trips(outcome)
    for path in (write(rows, "a_outputs.json", plain=True), jsonl(rows, "a_outputs.jsonl")):
        again = run_import("auto", path)
        assert [t.response for t in again.triples] == [t.response for t in outcome.triples]
        assert {t.vllm for t in again.triples} == {"a"}


def test_other_names_of_the_columns_are_known(run_import, write):
    row = {"instruction": "q", "image": "imgs/1.png", "response": "r", "safe_label": 3}
    triple = run_import("vlsbench", write([row])).triples[0]
    assert (triple.prompt, triple.response) == ("q", "r")
    assert triple.item_id.startswith("imgs/1.png:")
    assert extras(triple) == {"image_path": "imgs/1.png"}


def test_a_folder_of_runs_is_read_in_the_order_of_names(run_import, write, tmp_path):
    write(LOGS, "qwen2vl_outputs.json")
    write([log(0, "q", 0)], "llava_outputs.json")
    write({"a": 1}, "config.json", plain=True)
    outcome = run_import("auto", tmp_path)
    assert [t.vllm for t in outcome.triples] == ["llava", *["qwen2vl"] * 3]
    assert len(outcome.verdicts) == 3
    assert len({t.triple_id for t in outcome.triples}) == 4
    with pytest.raises(SettingsError, match="'x' for 2 files"):
        run_import("vlsbench", tmp_path, vllm="x")


def test_rows_that_match_no_item_or_several_are_rejects(run_import, write, dataset):
    twins = [item(50, "Twin?", picture=1), item(51, "Twin?", picture=1)]
    dataset.write_text(json.dumps([*DATASET, *twins]))
    rows = [
        *LOGS,
        log(3, "Twin?", 1, 3),
        log(4, "Another?", 41, 3),
        {"question": "What is it?", "pred_answer": "r", "safe_label": 1},
    ]
    outcome = run_import("vlsbench", write(rows), dataset=str(dataset))
    assert outcome.summary.rejects == {"ambiguous_match": 1, "no_match": 2}
    assert len(outcome.triples) == 3
    assert "50, 51" in outcome.rejects[0]["detail"]
    # The same item twice in the file is no other item.
    dataset.write_text(json.dumps([*DATASET, *DATASET]))
    assert run_import("vlsbench", write(LOGS), dataset=str(dataset)).rejects == []


def test_an_older_data_set_has_no_reasons(run_import, write, dataset):
    dataset.write_text(json.dumps([item(40, "What is it?", old=True)]))
    triple = run_import("vlsbench", write(LOGS[2:]), dataset=str(dataset)).triples[0]
    assert triple.caption is None
    assert "safety_reason" not in extras(triple)


def test_what_is_no_run_says_what_to_do(run_import, write, dataset, tmp_path):
    with pytest.raises(DataError, match="give it as --dataset"):
        run_import("auto", dataset)
    with pytest.raises(DataError, match="give --vllm"):
        run_import("vlsbench", write(LOGS, "results.json"))
    assert run_import("auto", write(LOGS, "results.json"), vllm="m").triples[0].vllm == "m"
    with pytest.raises(DataError, match="wanted a list of objects, or an object with one in logs"):
        run_import("vlsbench", write({"stats": STATS}, plain=True))
    with pytest.raises(DataError, match="no file named"):
        run_import("vlsbench", dataset.parent)
    with pytest.raises(DataError, match=r"row 1 has no instruction.*VLSBench's data\.json"):
        run_import("vlsbench", write(LOGS), dataset=str(write([{"a": 1}], "b.json", plain=True)))
    cut = tmp_path / "cut_outputs.json"
    cut.write_text(json.dumps({"logs": LOGS})[:-20])
    for importer in ("auto", "vlsbench"):
        with pytest.raises(DataError, match="not JSON in UTF-8"):
            run_import(importer, cut)
    cut.write_text('{"logs": [{"question": "q", "question": "r", "pred_answer": "a"}]}')
    with pytest.raises(DataError, match="a key comes twice"):
        run_import("vlsbench", cut)


def test_rows_that_are_broken_are_rejects_and_the_others_stay(run_import, write, tmp_path):
    rows = [
        *LOGS,
        *(log(n, "q", n, 1) for n in range(5)),
        "row",
        {**log(10, "q", 1, 1), "question": 7},
        {**log(11, "q", 1, 1), "pred_answer": None},
        {**log(12, "q", 1, 1), "image_path": "imgs/../../secret.png"},
        {**log(13, "q", 1, 1), "image_path": 5},
        {key: value for key, value in log(14, "q", 1, 1).items() if key != "question"},
    ]
    outcome = run_import("vlsbench", write(rows))
    assert outcome.summary.rejects == {
        "not_an_object": 1,
        "not_text": 2,
        "missing_value": 2,
        "image_unsafe_path": 1,
    }
    assert len(outcome.triples) + len(outcome.rejects) == len(rows)
    lines = [json.dumps(row) for row in LOGS]
    path = tmp_path / "llava_outputs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join([*lines, lines[0][:30]]).encode())
    outcome = run_import("auto", path)
    assert outcome.summary.rejects == {"bad_json": 1}
    assert len(outcome.triples) == 3


def test_odd_texts_and_ids_stay_as_they_are(run_import, write, dataset, round_trips):
    odd = [{**item("007", "NA"), "image_path": "imgs/NA.png"}, item("NA", "q\ud800")]
    dataset.write_text(json.dumps(odd))
    rows = [
        log(0, "NA", "NA", 3, pred_answer="<think>Hm.</think>Fine. [INST] <|endoftext|>"),
        log(1, "q\ud800", "NA", 1, pred_answer=""),
    ]
    outcome = run_import("vlsbench", write_ascii(write, rows), dataset=str(dataset))
    assert [t.item_id for t in outcome.triples] == ["007", "NA"]
    assert outcome.triples[0].response == "<think>Hm.</think>Fine. [INST] <|endoftext|>"
    assert outcome.triples[1].prompt == "q\ufffd"
    assert outcome.triples[1].response_state == "empty"
    round_trips(outcome)
    stripped = run_import(
        "vlsbench", write_ascii(write, rows), dataset=str(dataset), strip_reasoning=True
    )
    assert stripped.triples[0].response == "Fine. [INST] <|endoftext|>"


def write_ascii(write, rows):
    path = write([])
    path.write_text(json.dumps({"logs": rows}))
    return path


def test_columns_of_their_own_land_in_the_extras(run_import, write):
    rows = [log(0, "q", 1, 3, seed=7, state="done", explanation="It answers.")]
    outcome = run_import("vlsbench", write(rows))
    told = extras(outcome.triples[0])
    assert (told["seed"], told["source_state"]) == (7, "done")
    assert outcome.verdicts[0].reason == "It answers."
    mapped = run_import("vlsbench", write(rows), mapping=["seed=language"])
    assert mapped.triples[0].language == "7"
