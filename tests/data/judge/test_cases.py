import json

import pyarrow as pa
import pytest
import yaml
from PIL import Image

from nsgauge.data.images import ImageStore, image_digest
from nsgauge.data.judge.cases import cases_of
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.plan_file import PlanNote, write_plan
from nsgauge.data.tables import SourceNote, write_data
from nsgauge.errors import DataError, SettingsError
from nsgauge.records import ResponseState, Triple


def recipe(show="image_or_caption", **content):
    picture = {"show": show}
    return JudgeRecipe.from_mapping({"model": "m", "picture": picture, **content}, source="test")


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "pictures")


@pytest.fixture
def picture(store, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9), "red").save(path)
    return store.add(path.read_bytes())


@pytest.fixture
def folder(tmp_path, store):
    """Write a data folder: `folder(t1={...}, t2={...})`."""

    def write(**triples):
        rows = [
            Triple(triple_id=key, **{"prompt": "p", "response": f"r of {key}", **fields})
            for key, fields in triples.items()
        ]
        out = tmp_path / "data"
        write_data(
            out,
            triples=rows,
            verdicts=(),
            rejects=(),
            source=SourceNote(importer="test", image_root=store.root),
            overwrite=True,
        )
        return out

    return write


def ids(cases):
    return [question.triple_id for question in cases.questions]


@pytest.mark.parametrize(
    ("show", "asked", "left_out"),
    [
        ("image", {"both": "image", "image": "image"}, {"no image": 2}),
        ("caption", {"both": "caption", "words": "caption"}, {"no caption": 2}),
        (
            "image_or_caption",
            {"both": "image", "image": "image", "words": "caption"},
            {"no image or caption": 1},
        ),
        ("none", dict.fromkeys(["both", "image", "words", "bare"], "none"), {}),
    ],
)
def test_who_lacks_what_is_to_be_shown_is_left_out(folder, picture, show, asked, left_out):
    data = folder(
        both={"image": picture, "caption": "c"},
        image={"image": picture},
        words={"caption": "c"},
        bare={},
    )
    cases = cases_of(data, recipe=recipe(show))
    assert cases.left_out == left_out
    found = {}
    for question in cases.questions:
        captioned = question.texts.get("image_description") == "c"
        found[question.triple_id] = "image" if question.image else "caption" * captioned or "none"
        assert (question.image_digest is None) == (question.image is None)
    assert found == asked


def test_a_picture_is_known_by_its_bytes(folder, picture):
    data = folder(t={"image": picture})
    [question] = cases_of(data, recipe=recipe()).questions
    assert question.image_digest == image_digest((data / picture).read_bytes())


def test_only_answers_are_asked_about(folder):
    data = folder(
        t={},
        e={"response": "", "response_state": ResponseState.EMPTY},
        n={"response": "Error 500", "response_state": ResponseState.NOT_A_RESPONSE},
    )
    cases = cases_of(data, recipe=recipe("none"))
    assert ids(cases) == ["t"]
    assert cases.left_out == {"response empty": 1, "response not_a_response": 1}


def test_a_missing_picture_is_a_reason(folder, picture):
    data = folder(t={"image": picture}, u={"image": picture, "prompt": "q"})
    (data / picture).unlink()
    assert cases_of(data, recipe=recipe()).left_out == {"picture missing": 2}


@pytest.mark.parametrize("field", ["prompt", "response", "caption"])
def test_a_text_past_the_limit_is_a_reason(folder, field):
    data = folder(t={"caption": "c", field: "x" * 101}, u={"caption": "c", field: "x" * 100})
    cases = cases_of(data, recipe=recipe(limits={"longest_text": 100}))
    assert (ids(cases), cases.left_out) == (["u"], {"text too long": 1})


def test_the_benchmarks_notes_are_shown_in_the_prompts_order(folder):
    extras = {"safety_warning": "w", "safety_reason": "s", "other": "o", "reference_answer": "a"}
    data = folder(t={"extras": json.dumps(extras)})
    [question] = cases_of(data, recipe=recipe("none")).questions
    assert list(question.texts.items()) == [
        ("prompt", "p"),
        ("response", "r of t"),
        ("safety_reason", "s"),
        ("safety_warning", "w"),
    ]
    [ported] = cases_of(data, recipe=recipe("none", prompt="siuo-safety")).questions
    assert list(ported.texts) == ["prompt", "safety_warning", "reference_answer", "response"]


@pytest.mark.parametrize("extras", [None, "[1]", '{"safety_reason": ["s"], "safety_warning": ""}'])
def test_a_note_that_is_no_text_is_not_shown(folder, extras):
    data = folder(t={"extras": extras})
    [question] = cases_of(data, recipe=recipe("none")).questions
    assert list(question.texts) == ["prompt", "response"]


def test_the_extras_never_stand_in_for_prompt_or_response(folder):
    data = folder(t={"prompt": "", "extras": '{"prompt": "a", "response": "b"}'})
    [question] = cases_of(data, recipe=recipe("none")).questions
    assert question.texts == {"response": "r of t"}


def test_a_prompt_that_finds_nothing_to_show_is_no_crash(folder, tmp_path):
    content = {
        "name": "p",
        "version": 1,
        "shows": ["prompt"],
        "instructions": "i",
        "fields": {
            "safe": {"kind": "choice", "axis": "safety", "choices": {"y": "safe", "n": "unsafe"}}
        },
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    [question] = cases_of(
        folder(t={"prompt": ""}), recipe=recipe("none", prompt=str(path))
    ).questions
    assert question.texts == {}


def test_triples_that_read_the_same_share_a_key(folder, picture):
    same = {"prompt": "p", "response": "r", "image": picture}
    data = folder(a=same, b={**same, "vllm": "v"}, c={**same, "response": "s"})
    one, two, three = cases_of(data, recipe=recipe()).questions
    assert one.key == two.key != three.key


@pytest.fixture
def plan(tmp_path):
    def write(probabilities):
        rows = pa.table(
            {
                "triple_id": list(probabilities),
                "inclusion_probability": list(probabilities.values()),
                "stratum": ["all"] * len(probabilities),
                "design": ["uniform"] * len(probabilities),
                "seed": [7] * len(probabilities),
            }
        )
        note = PlanNote(
            data_fingerprint="f",
            judge=None,
            round=1,
            judged_before=0,
            population=9,
            units=2,
            settings={},
        )
        path = tmp_path / "PLAN.parquet"
        write_plan(path, rows=rows, note=note, overwrite=True)
        return path

    return write


def test_a_plan_says_who_is_asked_and_with_what_probability(folder, plan):
    data = folder(a={}, b={}, c={"response_state": ResponseState.EMPTY}, d={})
    cases = cases_of(data, recipe=recipe("none"), plan=plan({"d": 0.25, "c": 0.5, "a": 1.0}))
    found = {q.triple_id: q.inclusion_probability for q in cases.questions}
    assert list(found.items()) == [("a", 1.0), ("d", 0.25)]
    assert cases.left_out == {"response empty": 1}
    unplanned = cases_of(data, recipe=recipe("none")).questions
    assert {q.inclusion_probability for q in unplanned} == {None}
    assert {q.key for q in cases.questions} < {q.key for q in unplanned}


def test_a_plan_of_another_folder_is_refused(folder, plan):
    with pytest.raises(DataError, match="1 triples that aren't in the data, 'z' among them"):
        cases_of(folder(a={}), recipe=recipe("none"), plan=plan({"a": 0.5, "z": 0.5}))


def test_an_unknown_prompt_is_answered_with_the_known_ones(folder):
    with pytest.raises(SettingsError, match=r"judge prompt 'nosuch'.*two-questions"):
        cases_of(folder(a={}), recipe=recipe(prompt="nosuch"))
