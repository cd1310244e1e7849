from typing import Any

import pytest
import yaml

from nsgauge.data.judge.prompt import JUDGE_PROMPTS, AnswerField, JudgePrompt
from nsgauge.errors import SettingsError
from nsgauge.protocol import Grounding, Safety

SAFE = {"kind": "choice", "axis": "safety", "choices": {"yes": "safe", "no": "unsafe"}}
CONTENT: dict[str, Any] = {
    "name": "p",
    "version": 1,
    "shows": ["prompt", "response"],
    "instructions": "Is it safe?",
    "fields": {"why": {"kind": "text", "asks": "a word"}, "safe": SAFE},
}

# Verdicts are told apart by this hash. Who changes the words raises the version, then this table.
GOLDEN = {
    "siuo-safety": (
        1,
        ["reason", "safe"],
        "5f94b5565cca3518f2ed5dff073858892d723707874b09ad6fcd6e93263f5e26",
    ),
    "two-questions": (
        1,
        ["understood", "grounding", "safety", "hallucinated", "reason"],
        "b40256bae28e94e06e50d94e639930dd0d80ce128fb96325aa64bb58cb32a009",
    ),
    "vlsbench-safety": (
        1,
        ["outcome", "reason"],
        "5523516215959992f03c005321880cb6e265637e1b6978b06dee82a1c9c3985c",
    ),
}


def prompt(**changes):
    return JudgePrompt.from_mapping({**CONTENT, **changes}, source="test")


def shipped(name):
    return JUDGE_PROMPTS.load(name, settings=JudgePrompt)


def test_the_shipped_prompts_are_those_that_are_pinned():
    assert JUDGE_PROMPTS.names() == sorted(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_shipped_prompt_asks_what_is_pinned(name):
    found = shipped(name)
    assert found.name == name
    assert (found.version, list(found.fields), found.prompt_hash) == GOLDEN[name]


def test_the_two_questions_come_in_the_protocols_order():
    found = shipped("two-questions")
    places = [list(found.fields).index(name) for name in ("understood", "grounding", "safety")]
    assert places == sorted(places)
    assert set(found.fields["safety"].choices) == set(Safety)
    assert set(found.fields["grounding"].choices) == set(Grounding)
    assert (found.of_axis("hallucinated"), found.of_axis("safety")) == ("hallucinated", "safety")
    assert shipped("vlsbench-safety").of_axis("grounding") is None


@pytest.mark.parametrize("name", GOLDEN)
def test_the_schema_is_strict_and_in_order(name):
    found = shipped(name)
    schema = found.answer_schema
    assert list(schema["properties"]) == schema["required"] == ["case", *found.fields]
    assert schema["additionalProperties"] is False
    assert {value["type"] for value in schema["properties"].values()} <= {"string", "boolean"}
    for key, field in found.fields.items():
        assert schema["properties"][key].get("enum", []) == list(field.choices)


def test_the_form_of_a_value_names_the_words():
    assert AnswerField(**SAFE).form() == '"yes" or "no"'
    assert AnswerField(kind="flag").form() == "true or false"
    assert AnswerField(kind="text").form() == "text"
    assert AnswerField(kind="text", asks="a word").form() == "a word"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "q"},
        {"version": 2},
        {"shows": ["response", "prompt"]},
        {"shows": ["response"]},
        {"instructions": "Is it safe ?"},
        {"fields": dict(reversed(CONTENT["fields"].items()))},
        {"fields": {**CONTENT["fields"], "why": {"kind": "text", "asks": "a sentence"}}},
        {
            "fields": {
                **CONTENT["fields"],
                "safe": {**SAFE, "choices": {"no": "unsafe", "yes": "safe"}},
            }
        },
        {
            "fields": {
                **CONTENT["fields"],
                "safe": {**SAFE, "choices": {"yes": "unsafe", "no": "safe"}},
            }
        },
    ],
)
def test_whatever_changes_the_question_changes_the_hash(changes):
    assert prompt(**changes).prompt_hash != prompt().prompt_hash


def test_the_rendering_is_part_of_the_hash(monkeypatch):
    before = prompt().prompt_hash
    monkeypatch.setattr("nsgauge.data.judge.prompt.RENDERING", 99)
    assert prompt().prompt_hash != before


def test_comments_and_layout_leave_the_hash_alone(tmp_path):
    path = tmp_path / "p.yaml"
    text = yaml.safe_dump(CONTENT, sort_keys=False)
    for written in (text, f"# Why we ask.\n\n{text}# The end.\n", yaml.safe_dump(dict(CONTENT))):
        path.write_text(written, encoding="utf-8")
        loaded = JUDGE_PROMPTS.load(str(path), settings=JudgePrompt)
        same_order = list(loaded.fields) == list(CONTENT["fields"])
        assert (loaded.prompt_hash == prompt().prompt_hash) == same_order


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ({"kind": "choice"}, "choices"),
        ({"kind": "text", "choices": {"a": "b"}}, "choices"),
        ({"kind": "flag", "choices": {"a": "b"}}, "choices"),
        ({"kind": "text", "axis": "safety"}, "safe"),
        ({"kind": "flag", "axis": "grounding"}, "grounded"),
        ({**SAFE, "choices": {"yes": "safe", "no": "harmful"}}, "harmful"),
        ({**SAFE, "choices": {"yes": "safe", "perhaps": "safe"}}, "unsafe"),
        ({**SAFE, "choices": {"Yes": "safe", "no": "unsafe"}}, "lower case"),
        ({**SAFE, "choices": {"yes": "safe", "not safe": "unsafe"}}, "lower case"),
        ({**SAFE, "choices": {"yes": "safe", "": "unsafe"}}, "lower case"),
        ({**SAFE, "choices": {True: "safe", False: "unsafe"}}, "string"),
        ({**SAFE, "axis": "hallucinated"}, "flag"),
        ({"kind": "number"}, "kind"),
    ],
)
def test_a_field_that_decides_nothing_clearly_is_refused(field, named):
    with pytest.raises(SettingsError, match=named):
        prompt(fields={"safe": SAFE, "other": field} if "axis" not in field else {"other": field})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fields": {}}, "safety or grounding"),
        ({"fields": {"why": {"kind": "text"}}}, "safety or grounding"),
        ({"fields": {"h": {"kind": "flag", "axis": "hallucinated"}}}, "safety or grounding"),
        ({"fields": {"a": SAFE, "b": SAFE}}, "each once"),
        ({"fields": {"case": SAFE}}, "taken"),
        ({"shows": ["picture"]}, "shows"),
        ({"instructions": ""}, "instructions"),
        ({"version": 0}, "version"),
        ({"temperature": 1}, "unknown key"),
    ],
)
def test_a_prompt_that_asks_nothing_clearly_is_refused(changes, named):
    with pytest.raises(SettingsError, match=named):
        prompt(**changes)
