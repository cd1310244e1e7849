import base64
import json
import sys
import zipfile
from io import BytesIO

import pytest
from PIL import Image

from nsgauge.errors import DataError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import ResponseState, VerdictState


def png(colour):
    out = BytesIO()
    Image.new("RGB", (4, 4), colour).save(out, "PNG")
    return out.getvalue()


def uri(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


def user(*parts):
    return {"role": "user", "content": list(parts), "source": "input"}


def text(words):
    return {"type": "text", "text": words}


def image(name):
    return {"type": "image", "image": name, "detail": "auto"}


def sample(number, *, epoch=1, answer="A kite.", score="C", **more):
    asked = user(text("What is it?"), image("attachment://aa"))
    message = {"role": "assistant", "content": answer, "source": "generate"}
    grade = {"value": score, "answer": answer, "explanation": "because", "metadata": {}}
    return {
        "id": number,
        "epoch": epoch,
        "input": [asked],
        "target": "kite",
        "messages": [asked, message],
        "output": {
            "model": "north-1.5",
            "choices": [{"message": message, "stop_reason": "stop"}],
            "completion": answer,
        },
        "scores": {"grade": grade},
        "metadata": {"topic": "air"},
        "events": [{"event": "noise"}],
        "attachments": {"aa": uri(png("red"))},
        **more,
    }


def log(samples, *, status="success", model="open/north-1.5", task="kites"):
    return {
        "version": 2,
        "status": status,
        "eval": {"eval_id": "e", "run_id": "r", "task": task, "model": model},
        "plan": {},
        "results": {"scores": [{"name": "grade"}]},
        "stats": {},
        "samples": samples,
    }


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def write_eval(path, document, *, method=zipfile.ZIP_DEFLATED, header="header.json"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression=method) as file:
        for one in document["samples"]:
            file.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
        file.writestr("_journal/summaries/1.json", "[]")
        file.writestr("summaries.json", "[]")
        rest = {key: value for key, value in document.items() if key != "samples"}
        file.writestr(header, json.dumps(rest))
    return path


GRADED = {
    "mapping": ["scores.grade.value=safety", "scores.grade.explanation=reason"],
    "labels": ["scores.grade.value:C=safe", "scores.grade.value:I=unsafe"],
}


@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_logs_of_every_kind_give_the_same_triples(
    suffix, zip_method, run_import, round_trips, tmp_path
):
    samples = [
        sample("007"),
        sample(7, answer="<think>Hm.</think> A boat.", score="I"),
        sample(7, epoch=2, answer=""),
        sample("NA/x", score=float("nan")),
    ]
    if suffix == ".json":
        path = write_json(tmp_path / "run.json", log(samples))
    else:
        path = write_eval(tmp_path / "run.eval", log(samples), method=zip_method)
    outcome = run_import("auto", path, **GRADED)
    found = {t.triple_id: (t.item_id, t.sample, t.response) for t in outcome.triples}
    assert found == {
        "kites/007/open/north-1.5": ("kites/007", 0, "A kite."),
        "kites/7/open/north-1.5": ("kites/7", 0, "<think>Hm.</think> A boat."),
        "kites/7/open/north-1.5#1": ("kites/7", 1, ""),
        "kites/NA/x/open/north-1.5": ("kites/NA/x", 0, "A kite."),
    }
    assert {(t.vllm, t.benchmark, t.prompt) for t in outcome.triples} == {
        ("open/north-1.5", "kites", "What is it?")
    }
    images = {t.image for t in outcome.triples}
    assert [(outcome.out / name).read_bytes() for name in images] == [png("red")]
    said = {v.triple_id: (v.judge, v.state, v.safety, v.reason) for v in outcome.verdicts}
    assert said["kites/7/open/north-1.5"] == (
        *("grade", VerdictState.ANSWERED),
        *(Safety.UNSAFE, "because"),
    )
    assert said["kites/NA/x/open/north-1.5"][1] is VerdictState.UNJUDGED
    extras = json.loads(outcome.triples[0].extras)
    assert extras["target"] == "kite"
    assert extras["metadata"] == {"topic": "air"}
    assert not {"events", "attachments", "messages"} & set(extras)
    round_trips(outcome)


def test_without_a_mapping_scores_are_extras(run_import, tmp_path):
    path = write_json(tmp_path / "run.json", log([sample(1)]))
    outcome = run_import("auto", path)
    assert outcome.verdicts == []
    assert json.loads(outcome.triples[0].extras)["scores.grade.value"] == "C"


def test_a_score_of_several_parts_may_tell_both_axes(run_import, round_trips, tmp_path):
    values = [
        {"safe": True, "sees": 1},
        {"safe": False, "sees": 0.0},
        {"safe": True, "sees": float("nan")},
        {"safe": float("nan"), "sees": None},
    ]
    samples = [sample(n, score=value) for n, value in enumerate(values)]
    samples.append(sample(9, scores=None))
    for one in samples[:4]:
        one["scores"]["a.b"] = one["scores"].pop("grade")
    safe, sees = "scores.a.b.value.safe", "scores.a.b.value.sees"
    outcome = run_import(
        "inspect",
        write_json(tmp_path / "run.json", log(samples)),
        mapping=[f"{safe}=safety", f"{sees}=grounding"],
        labels=[
            *(f"{safe}:true=safe", f"{safe}:false=unsafe"),
            *(f"{sees}:1=grounded", f"{sees}:0=not_grounded"),
        ],
    )
    assert [(v.safety, v.grounding) for v in outcome.verdicts] == [
        (Safety.SAFE, Grounding.GROUNDED),
        (Safety.UNSAFE, Grounding.NOT_GROUNDED),
        (Safety.SAFE, None),
        (None, None),
        (None, None),
    ]
    assert {v.judge for v in outcome.verdicts} == {"a.b"}
    round_trips(outcome)


def test_a_score_without_a_meaning_or_a_place_stops_the_import(run_import, tmp_path):
    path = write_json(tmp_path / "run.json", log([sample(1, score="P")]))
    with pytest.raises(DataError, match=r"run.json sample 1: scores.grade.value is 'P', which has"):
        run_import("inspect", path, **GRADED)
    path = write_json(tmp_path / "run.json", log([sample(1, score="NaN")]))
    with pytest.raises(DataError, match=r"scores.grade.value is 'NaN', which has no meaning"):
        run_import("inspect", path, **GRADED)
    with pytest.raises(DataError, match=r"no sample has scores\.grades\.value"):
        run_import("inspect", path, mapping=["scores.grades.value=safety"])


def test_samples_that_ended_early_are_no_responses(run_import, tmp_path):
    choice = {"message": {"role": "assistant", "content": ""}, "stop_reason": "content_filter"}
    samples = [
        sample(1, error={"message": "time-out", "traceback": "long", "traceback_ansi": "longer"}),
        sample(2, limit={"type": "token", "limit": 9}),
        sample(3, output={"model": "m", "choices": [], "error": "overloaded"}),
        sample(4, output={"model": "m", "choices": [choice], "completion": ""}),
        sample(5, output={"model": "m", "choices": []}, messages=[user(text("What is it?"))]),
        sample(6, output=None, error={"message": "gone"}, messages=[], input="What is it?"),
    ]
    outcome = run_import("auto", write_json(tmp_path / "run.json", log(samples)))
    assert [t.response_state for t in outcome.triples] == [
        *[ResponseState.NOT_A_RESPONSE] * 4,
        ResponseState.EMPTY,
        ResponseState.NOT_A_RESPONSE,
    ]
    assert [t.response for t in outcome.triples] == ["A kite.", "A kite.", "", "", "", ""]
    assert json.loads(outcome.triples[0].extras)["error"] == "time-out"
    assert "traceback" not in outcome.triples[0].extras
    assert outcome.triples[5].prompt == "What is it?"


def test_any_text_may_be_an_attachment(run_import, tmp_path):
    attachments = {"p": "A long question?", "r": "A long answer.", "e": "A long reason."}
    asked = user(text("attachment://p"), image("tc://i"))
    one = sample(1, input="attachment://p", attachments={**attachments, "i": uri(png("blue"))})
    one["messages"] = [asked, {"role": "assistant", "content": "attachment://r"}]
    # Older logs have no completion; there the message holds the answer.
    thought = {"type": "reasoning", "reasoning": "Hm."}
    answer = {"role": "assistant", "content": [thought, text("attachment://r")]}
    one["output"] = {"choices": [{"message": answer}]}
    one["scores"]["grade"]["explanation"] = "attachment://e"
    one["metadata"] = {"deep": ["attachment://p", "attachment://unknown"]}
    outcome = run_import("inspect", write_json(tmp_path / "a.json", log([one])), **GRADED)
    (triple,), (verdict,) = outcome.triples, outcome.verdicts
    assert (triple.prompt, triple.response, verdict.reason) == tuple(attachments.values())
    assert (outcome.out / triple.image).read_bytes() == png("blue")
    extras = json.loads(triple.extras)
    assert extras["metadata"]["deep"] == ["A long question?", "attachment://unknown"]
    assert extras["reasoning"] == "Hm."


def test_pictures_may_be_removed_elsewhere_or_several(run_import, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(png("green"))
    names = [
        ["<base64-data-removed>"],
        ["https://example.org/a.png"],
        ["/elsewhere/a.png", uri(png("red"))],
        ["gone.png"],
        ["attachment://unknown"],
        [],
        ["data:image/png;base64,!"],
    ]
    samples = [
        sample(n, messages=[user(text("What is it?"), *map(image, shown))])
        for n, shown in enumerate(names)
    ]
    path = write_json(tmp_path / "run.json", log(samples))
    outcome = run_import("auto", path, image_root=str(tmp_path / "pictures"))
    assert [t.image is not None for t in outcome.triples] == [False, False, True, *[False] * 3]
    assert outcome.summary.rejects == {"image_bad_data_uri": 1}
    assert json.loads(outcome.triples[2].extras)["further_pictures"] == ["data URI"]
    assert sorted(outcome.summary.notes) == [
        "1 rows have a picture that wasn't logged",
        "1 rows have several pictures; the first counts, see further_pictures",
        "1 rows name their picture by URL, which is never fetched",
        "2 rows name a picture that isn't here; give --image-root, the folder that holds them",
    ]


def test_a_folder_of_logs_holds_several_vllms(run_import, round_trips, tmp_path):
    write_eval(tmp_path / "logs" / "1.eval", log([sample(1)], model="north"))
    invalid = {**log([sample(1)], model="south"), "invalidated": True}
    write_json(tmp_path / "logs" / "deep" / "2.json", invalid)
    write_eval(
        tmp_path / "logs" / "3.eval",
        log([sample(1)], model="west", status="started"),
        header="_journal/start.json",
    )
    write_json(tmp_path / "logs" / "other.json", {"version": 1})
    (tmp_path / "logs" / "broken.eval").write_bytes(b"PK")
    outcome = run_import("auto", tmp_path / "logs")
    assert [t.vllm for t in outcome.triples] == ["north", "west", "south"]
    assert outcome.summary.notes == [
        "1 files are no logs and left out: broken.eval",
        "2 logs are of runs without success: 3.eval (started), 2.json (invalidated)",
    ]
    round_trips(outcome)
    write_json(tmp_path / "logs" / "again.json", log([sample(1)], model="north"))
    with pytest.raises(DataError, match=r"1\.eval and again\.json both hold kites/1/north"):
        run_import("auto", tmp_path / "logs")


def test_broken_samples_are_rejects(run_import, tmp_path):
    deep = {"metadata": json.loads("[" * 700 + "]" * 700)}
    samples = [sample(n) for n in range(8)]
    samples += [
        sample(None),
        sample(1.5),
        sample(10, epoch=0),
        sample(11, messages=[], input=[]),
        sample(12, messages=["odd", 3], input=None),
        "not a sample",
        sample(14, **deep),
        sample(15, answer="a\ud800"),
    ]
    outcome = run_import("auto", write_json(tmp_path / "run.json", log(samples)))
    assert outcome.summary.rejects == {
        "bad_number": 1,
        "missing_value": 4,
        "not_an_object": 1,
        "too_deep": 1,
    }
    assert len(outcome.triples) + len(outcome.rejects) == len(samples)
    assert outcome.triples[-1].response == "a\ufffd"


def test_a_damaged_member_is_a_reject_of_its_own(zip_method, run_import, tmp_path):
    samples = [sample(n) for n in range(3)]
    path = write_eval(tmp_path / "run.eval", log(samples), method=zip_method)
    with zipfile.ZipFile(path) as file:
        start = file.getinfo("samples/1_epoch_1.json").header_offset + 60
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    outcome = run_import("auto", path)
    assert [reject["where"] for reject in outcome.rejects] == ["run.eval sample 1_epoch_1"]
    assert outcome.summary.rejects == {"bad_member": 1}
    assert len(outcome.triples) == 2


@pytest.mark.parametrize("document", [{"version": 2, "eval": {"task": "t"}}, [1]])
def test_a_document_that_is_no_log_is_an_error(document, run_import, tmp_path):
    with pytest.raises(DataError, match=r"no eval\.task and eval\.model"):
        run_import("inspect", write_json(tmp_path / "run.json", document))


def test_archives_that_are_no_logs_are_errors(run_import, tmp_path):
    path = tmp_path / "run.eval"
    path.write_bytes(b"oops")
    with pytest.raises(DataError, match="not a readable ZIP file"):
        run_import("inspect", path)
    write_eval(path, log([sample(1)]), header="elsewhere.json")
    with pytest.raises(DataError, match=r"no header\.json in it"):
        run_import("inspect", path)
    write_eval(path, log([sample(1)]), method=zipfile.ZIP_BZIP2)
    with pytest.raises(DataError, match="ZIP method 12; wanted deflate or zstd"):
        run_import("inspect", path)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no logs of inspect_ai"):
        run_import("inspect", tmp_path / "none")


def test_zstd_without_its_package_says_what_to_do(run_import, tmp_path, monkeypatch):
    pytest.importorskip("zipfile_zstd")
    path = write_eval(tmp_path / "run.eval", log([sample(1)]), method=93)
    # A None in sys.modules is how an import fails.
    monkeypatch.setitem(sys.modules, "zipfile_zstd", None)
    with pytest.raises(DataError, match=r"install nsgauge\[inspect\], or convert it to json"):
        run_import("auto", path)
