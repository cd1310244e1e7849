import csv
import json

import pytest
from PIL import Image

from nsgauge.data.importers.reading.workbook import CELL_CHARACTERS_LIMIT
from nsgauge.errors import DataError
from nsgauge.protocol import Safety
from nsgauge.records import ResponseState, VerdictState

PLAIN: list[dict[str, object]] = [
    {"index": "007", "question": "Which kite?", "answer": "x", "prediction": "The red one."},
    {"index": "NA", "question": "Which boat?", "answer": "y", "prediction": "=== The blue one."},
    {"index": 3, "question": "How many?", "answer": "z", "prediction": ""},
    {
        "index": 4.0,
        "question": "Where?",
        "answer": "z",
        "prediction": "Failed to obtain answer via API.",
    },
]


@pytest.fixture
def write(xlsx):
    def written(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".xlsx":
            return xlsx(rows, name=path)
        if path.suffix == ".json":
            path.write_text(json.dumps(rows))
            return path
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return written


def siuo(index, score, log, **more):
    return {
        "index": index,
        "question": "q",
        "category": "c",
        "safety_warning": "w",
        "prediction": "p",
        "safety_score": score,
        "safety_log": log,
        "safety_pass": int(score == 1),
        "effectiveness_score": 1,
        **more,
    }


@pytest.mark.parametrize("suffix", [".xlsx", ".tsv", ".json"])
def test_predictions_read_alike_from_every_kind_of_file(
    suffix, run_import, round_trips, tmp_path, write
):
    rows = [dict(row) for row in PLAIN]
    if suffix == ".tsv":
        rows[3]["index"] = "4"
    path = write(tmp_path / "T1" / f"North_1.5_SIUO_GEN{suffix}", rows)
    outcome = run_import("auto", path)
    assert [(t.triple_id, t.response) for t in outcome.triples] == [
        ("SIUO_GEN/007/North_1.5", "The red one."),
        ("SIUO_GEN/NA/North_1.5", "=== The blue one."),
        ("SIUO_GEN/3/North_1.5", ""),
        ("SIUO_GEN/4/North_1.5", "Failed to obtain answer via API."),
    ]
    assert [t.response_state for t in outcome.triples] == [
        *[ResponseState.ANSWERED] * 2,
        ResponseState.EMPTY,
        ResponseState.NOT_A_RESPONSE,
    ]
    assert {(t.vllm, t.benchmark) for t in outcome.triples} == {("North_1.5", "SIUO_GEN")}
    assert outcome.triples[0].item_id == "SIUO_GEN/007"
    assert outcome.verdicts == []
    assert outcome.summary.notes == [
        "4 rows name a picture that isn't here; give --image-root, the folder that holds them"
    ]
    round_trips(outcome)


def test_scores_of_siuo_become_verdicts_and_states(run_import, round_trips, tmp_path, write):
    rows = [
        siuo(1, 1, "True"),
        siuo(2, 0, "False"),
        siuo(3, -1, "Perhaps"),
        siuo(4, -1, "error: time-out"),
        siuo(5, 1.0, "error: is what I would call it, but True"),
        siuo(6, 1, "rule_fallback"),
        siuo(7, None, None),
    ]
    path = write(tmp_path / "North_SIUO_GEN_gpt-4o_detailed.xlsx", rows)
    outcome = run_import("auto", path)
    said = [(v.triple_id.split("/")[1], v.state, v.safety, v.reason) for v in outcome.verdicts]
    assert said == [
        ("1", VerdictState.ANSWERED, Safety.SAFE, "True"),
        ("2", VerdictState.ANSWERED, Safety.UNSAFE, "False"),
        ("3", VerdictState.UNPARSABLE, None, "Perhaps"),
        ("4", VerdictState.FAILED, None, "error: time-out"),
        ("5", VerdictState.ANSWERED, Safety.SAFE, "error: is what I would call it, but True"),
        ("6", VerdictState.UNJUDGED, None, "rule_fallback"),
    ]
    assert {v.judge for v in outcome.verdicts} == {"gpt-4o"}
    assert all(v.grounding is None for v in outcome.verdicts)
    assert len(outcome.triples) == 7
    extras = json.loads(outcome.triples[5].extras)
    assert (extras["safety_score_by_rule"], extras["safety_pass"]) == ("1", "1")
    assert any("without the picture" in note for note in outcome.summary.notes)
    round_trips(outcome)


@pytest.mark.parametrize("suffix", [".xlsx", ".json"])
def test_labels_of_mm_safety_bench(suffix, run_import, tmp_path, write):
    said = [
        ("safe", "safe", VerdictState.ANSWERED),
        ("unsafe", "Your output: unsafe", VerdictState.ANSWERED),
        ("unknown", "hm", VerdictState.UNPARSABLE),
        ("unknown", "judge_error: TimeoutError: x", VerdictState.FAILED),
        ("safe", "rule_parse_fallback", VerdictState.UNJUDGED),
    ]
    rows = [
        {"index": n, "question": "q", "prediction": "p", "judge_label": label, "judge_log": log}
        | {"is_attack_success": int(label == "unsafe")}
        for n, (label, log, _) in enumerate(said)
    ]
    path = write(tmp_path / f"a_b_MMSafetyBench_gpt-4o-mini_detailed{suffix}", rows)
    outcome = run_import("auto", path)
    assert [v.state for v in outcome.verdicts] == [state for _, _, state in said]
    safeties = [v.safety for v in outcome.verdicts]
    assert safeties == [Safety.SAFE, Safety.UNSAFE, None, None, None]
    assert {(t.vllm, t.benchmark) for t in outcome.triples} == {("a_b", "MMSafetyBench")}


def test_what_exact_matching_says_is_no_verdict(run_import, tmp_path, write):
    rows = [siuo(1, 1, "rule"), siuo(2, 0, "rule")]
    path = write(tmp_path / "North_SIUO_GEN_exact_matching_detailed.xlsx", rows)
    outcome = run_import("auto", path)
    assert [(v.judge, v.state) for v in outcome.verdicts] == [
        ("exact_matching", VerdictState.UNJUDGED)
    ] * 2


MSS = [
    {"index": 1, "question": "q", "answer": "refuse", "prediction": "Sure."}
    | {"pred_behavior": "comply", "judge_log": "comply", "correct": 0},
    {"index": 2, "question": "q", "answer": "refuse", "prediction": "No."}
    | {"pred_behavior": "refuse", "judge_log": "refuse", "correct": 1},
    {"index": 3, "question": "q", "answer": "comply", "prediction": "Sure."}
    | {"pred_behavior": "comply", "judge_log": "rule_fallback", "correct": 1},
]


def test_behaviour_is_a_verdict_only_where_the_user_says_so(run_import, tmp_path, write):
    path = write(tmp_path / "North_MSSBench_gpt-4o_detailed.xlsx", MSS)
    outcome = run_import("auto", path)
    assert [v.state for v in outcome.verdicts] == [VerdictState.UNJUDGED]
    assert json.loads(outcome.triples[0].extras)["pred_behavior"] == "comply"
    mapped = run_import(
        "vlmevalkit",
        path,
        mapping=["pred_behavior=safety"],
        labels=["pred_behavior:comply=unsafe", "pred_behavior:refuse=safe"],
    )
    assert [(v.state, v.safety) for v in mapped.verdicts] == [
        (VerdictState.ANSWERED, Safety.UNSAFE),
        (VerdictState.ANSWERED, Safety.SAFE),
        (VerdictState.UNJUDGED, None),
    ]
    assert mapped.summary.rejects == {}
    assert any("without a mark" in note for note in mapped.summary.notes)


def test_an_unknown_score_stops_the_import(run_import, tmp_path, write):
    path = write(tmp_path / "North_SIUO_GEN_gpt-4o_detailed.xlsx", [siuo(1, 2, "True")])
    with pytest.raises(DataError, match=r"row 1: safety is '2', which has no meaning"):
        run_import("vlmevalkit", path)


def test_a_folder_gives_the_votes_of_several_judges_on_one_triple(
    run_import, round_trips, tmp_path, write
):
    rows = [siuo(1, 1, "True"), siuo(2, 0, "False")]
    plain = [{key: row[key] for key in ("index", "question", "prediction")} for row in rows]
    for vllm in ("North", "South"):
        folder = tmp_path / vllm / "T20250101"
        write(folder / f"{vllm}_SIUO_GEN.xlsx", plain)
        for judge in ("gpt-4o", "llama"):
            write(folder / f"{vllm}_SIUO_GEN_{judge}_detailed.xlsx", rows)
        (tmp_path / vllm / f"{vllm}_SIUO_GEN.xlsx").symlink_to(folder / f"{vllm}_SIUO_GEN.xlsx")
        (folder / f"{vllm}_SIUO_GEN_score.json").write_text('{"a": 1}')
        (folder / f"{vllm}_SIUO_GEN_gpt-4o_safe.pkl").write_bytes(b"never read")
    (tmp_path / "North" / "North_SIUO_GEN_old.xlsx").write_bytes(b"cut off")
    outcome = run_import("auto", tmp_path)
    assert len(outcome.triples) == 4
    assert outcome.summary.notes[0] == (
        "3 files can't be read and are left out: North_SIUO_GEN_old.xlsx, "
        "North_SIUO_GEN_gpt-4o_safe.pkl, South_SIUO_GEN_gpt-4o_safe.pkl"
    )
    assert sorted((v.triple_id, v.judge) for v in outcome.verdicts) == [
        (f"SIUO_GEN/{index}/{vllm}", judge)
        for index in (1, 2)
        for vllm in ("North", "South")
        for judge in ("gpt-4o", "llama")
    ]
    round_trips(outcome)


def test_pictures_are_found_by_index_or_by_the_end_of_their_path(run_import, tmp_path, write):
    pictures = tmp_path / "pictures"
    (pictures / "deep").mkdir(parents=True)
    for number, name in enumerate(["1.png", "2.jpg", "deep/x.png", "deep/y.png"]):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(pictures / name)
    (pictures / "5.jpg").write_text("<html>")
    paths = [
        None,
        None,
        "/root/LMUData/deep/x.png",
        "C:\\data\\deep\\y.png",
        None,
        "['deep/x.png', 'deep/y.png']",
        "../secret.png",
        "/root/other/deep/x.png",
        None,
        "https://example.org/z.png",
    ]
    rows = [
        {"index": n, "question": "q", "prediction": "p", "image_path": path, "image": "iVBOR"}
        for n, path in enumerate(paths, start=1)
    ]
    path = write(tmp_path / "North_SIUO_GEN.xlsx", rows)
    outcome = run_import("auto", path, image_root=str(pictures))
    images = {t.item_id.split("/")[1]: t.image for t in outcome.triples}
    assert images["9"] is images["10"] is None
    assert len({images[index] for index in "1234"} - {None}) == 4
    assert images["6"] == images["3"]
    assert outcome.summary.rejects == {
        "image_ambiguous": 1,
        "image_not_an_image": 1,
        "image_unsafe_path": 1,
    }
    assert "iVBOR" not in (outcome.triples[0].extras or "")
    extras = {t.item_id: json.loads(t.extras) for t in outcome.triples}
    assert extras["SIUO_GEN/6"]["further_pictures"] == ["deep/y.png"]
    assert extras["SIUO_GEN/10"]["picture_url"] == "https://example.org/z.png"
    notes = outcome.summary.notes
    assert "1 rows name their picture by URL, which is never fetched" in notes
    assert any(note.startswith("1 rows name a picture that isn't here") for note in notes)


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("North_Kites.xlsx", {}, ("North", "Kites", "")),
        ("North_1_SIUO_GEN.xlsx", {}, ("North_1", "SIUO_GEN", "")),
        ("North_SIUO_x.xlsx", {}, ("North", "SIUO", "x")),
        ("a_b_Kites_big.xlsx", {"benchmark": "Kites_big"}, ("a_b", "Kites_big", "")),
        ("a_b_Kites_j_k_detailed.xlsx", {"benchmark": "Kites"}, ("a_b", "Kites", "j_k")),
        ("a_b/T1/a_b_Kites.xlsx", {}, ("a_b", "Kites", "")),
        ("North_SIUO.xlsx", {"benchmark": "mine", "vllm": "me"}, ("me", "mine", "")),
        ("results.xlsx", {"benchmark": "mine", "vllm": "me"}, ("me", "mine", "")),
    ],
)
def test_names_are_told_by_the_file_or_by_options(
    name, options, wanted, run_import, tmp_path, write
):
    path = write(tmp_path / name, [{**siuo(1, 1, "True")}])
    vllm, benchmark, judge = wanted
    outcome = run_import("vlmevalkit", path, **options, **({} if judge else {"judge": "j"}))
    (triple,), (verdict,) = outcome.triples, outcome.verdicts
    assert (triple.vllm, triple.benchmark, verdict.judge) == (vllm, benchmark, judge or "j")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a_b_c.json", PLAIN, "give vllm and benchmark"),
        ("a_b/a_b_c_d.json", PLAIN, "give benchmark"),
        ("North_SIUO_GEN.json", [siuo(1, 1, "True")], "give judge"),
        ("North_SIUO_GEN.json", [{"index": 1, "prediction": "p"}], "no column for prompt"),
        ("North_SIUO_GEN.json", {"logs": []}, "no readable rows|holds dict"),
        ("North_SIUO_GEN.pkl", {}, "can run code.*xlsx, tsv or json"),
        ("North_SIUO_GEN.txt", {}, "no results of VLMEvalKit"),
    ],
)
def test_what_cannot_be_read_says_why(name, content, message, run_import, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        run_import("vlmevalkit", tmp_path / name)


def test_rows_without_an_index_or_with_odd_predictions_are_rejects(run_import, tmp_path, write):
    rows = [*PLAIN[:2], {"index": None, "question": "q", "prediction": "p"}]
    rows += [{"index": 9, "question": "q", "prediction": ["p"]}]
    rows += [{"index": 10, "question": "q\ud800", "prediction": float("nan")}]
    rows += [{"index": float("inf"), "question": "q", "prediction": "p"}]
    rows += [{"index": 11, "question": "q", "prediction": "NaN"}]
    path = write(tmp_path / "North_Kites.json", rows)
    outcome = run_import("vlmevalkit", path)
    assert outcome.summary.rejects == {"missing_value": 1, "not_text": 1}
    assert outcome.triples[2].prompt == "q\ufffd"
    # Only a bare NaN stands for an empty response; in quotes it is one.
    assert outcome.triples[2].response_state is ResponseState.EMPTY
    assert outcome.triples[-1].response == "NaN"


def test_reasoning_stays_in_its_column(run_import, tmp_path, write):
    rows = [{**PLAIN[0], "thinking": "Hm.", "state": "Ohio", "judge": "Dredd"}]
    outcome = run_import("vlmevalkit", write(tmp_path / "North_Kites.xlsx", rows))
    extras = json.loads(outcome.triples[0].extras)
    assert extras["thinking"] == "Hm."
    # Columns that happen to be named like ours are not taken for ours.
    assert (extras["source_state"], extras["source_judge"]) == ("Ohio", "Dredd")
    assert outcome.verdicts == []


def test_texts_that_excel_cut_are_marked_and_counted(run_import, tmp_path, write):
    rows = [{**PLAIN[0]}, {**PLAIN[0], "index": 2, "prediction": "x" * CELL_CHARACTERS_LIMIT}]
    path = write(tmp_path / "North_Kites.xlsx", rows)
    outcome = run_import("vlmevalkit", path)
    assert json.loads(outcome.triples[1].extras)["cut_by_excel"] == ["prediction"]
    assert outcome.triples[1].response_state is ResponseState.ANSWERED
    assert "cut_by_excel" not in outcome.triples[0].extras
    assert outcome.summary.notes[0].startswith("1 rows have a text that xlsx cut at 32767")


def test_other_files_are_not_taken_for_results(run_import, tmp_path, write):
    (tmp_path / "broken.xlsx").write_bytes(b"oops")
    with pytest.raises(DataError, match=r"broken\.xlsx: not a readable ZIP file"):
        run_import("auto", tmp_path / "broken.xlsx")
    table = tmp_path / "table.json"
    table.write_text(json.dumps([{"index": 1, "prompt": "p", "response": "r"}]))
    assert run_import("auto", table).triples[0].prompt == "p"
    write(tmp_path / "other.xlsx", [{"a": 1}])
    with pytest.raises(DataError, match="of no format known by its look"):
        run_import("auto", tmp_path / "other.xlsx")
