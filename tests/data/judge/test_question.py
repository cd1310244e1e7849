import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.judge.prompt import JUDGE_PROMPTS, JudgePrompt
from nsgauge.data.judge.question import Question, messages, question_key
from nsgauge.data.judge.recipe import JudgeRecipe

PROMPTS = {name: JUDGE_PROMPTS.load(name, settings=JudgePrompt) for name in JUDGE_PROMPTS.names()}
TWO = PROMPTS["two-questions"]
TEXTS = {"prompt": "What is it?", "response": "A cat."}


def recipe(**content):
    return JudgeRecipe.from_mapping({"model": "m", **content}, source="test")


def key(*, prompt=TWO, texts=TEXTS, image_digest="d", **content):
    return question_key(recipe(**content), prompt=prompt, texts=texts, image_digest=image_digest)


def question(*, texts=TEXTS, image=None):
    return Question(
        triple_id="t",
        texts=texts,
        image=image,
        image_digest=image and "d",
        inclusion_probability=None,
        key=key(texts=texts, image_digest=image and "d"),
    )


def chat(asked, *, prompt=TWO, picture=None):
    return messages(asked, prompt=prompt, picture=picture, detail="low")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "n"},
        {"judge": "me"},
        {"sampling": {"temperature": 0.5}},
        {"sampling": {"temperature": None}},
        {"sampling": {"max_tokens": 401}},
        {"sampling": {"seed": 0}},
        {"sampling": {"extra_body": {"top_k": 1}}},
        {"picture": {"longest_side_px": 512}},
        {"picture": {"detail": "low"}},
        {"prompt": PROMPTS["siuo-safety"]},
        {"image_digest": "e"},
        {"image_digest": None},
        {"texts": {**TEXTS, "response": "A cat"}},
        {"texts": {**TEXTS, "safety_reason": ""}},
        {"texts": {"prompt": TEXTS["response"], "response": TEXTS["prompt"]}},
    ],
)
def test_the_key_changes_with_what_an_answer_depends_on(changes):
    assert key(**changes) != key()


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": {"base_url": "http://localhost:1/v1", "timeout_seconds": 1}},
        {"votes": 5},
        {"price": {"input_per_million": 1, "output_per_million": 1}},
        {"limits": {"concurrency": 1}},
    ],
)
def test_the_key_stays_where_only_the_way_to_an_answer_changes(changes):
    assert key(**changes) == key()


def test_without_a_picture_its_size_is_no_part_of_the_key():
    small = key(image_digest=None, picture={"longest_side_px": 64})
    assert small == key(image_digest=None)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["prompt", "response"]), st.text(max_size=5)),
        min_size=2,
        max_size=2,
        unique_by=lambda texts: json.dumps(texts, sort_keys=True),
    )
)
def test_no_two_cases_share_a_key_a_code_or_a_marker_by_their_texts(pair):
    one, two = (question(texts=texts) for texts in pair)
    assert one.key != two.key
    assert one.marker != two.marker


def test_code_and_marker_are_plain_and_stable():
    code = question().code
    assert code == question().code
    assert len(code) == 5
    assert set(code) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    assert len(question().marker) == 16


def test_the_code_is_drawn_anew_until_no_text_holds_it(monkeypatch):
    monkeypatch.setattr("nsgauge.data.judge.question._CODE_LENGTH", 1)
    for left in "AZ27":
        others = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".replace(left, "")
        assert question(texts={"prompt": others[:9], "response": others[9:].lower()}).code == left


def test_the_chat_shows_the_case_in_the_prompts_words():
    system, user = chat(question())
    assert system["role"] == "system"
    assert system["content"].startswith(TWO.instructions.strip())
    lines = user["content"].split("\n")
    code, marker = question().code, question().marker
    assert lines[0].startswith(f"Case {code}.")
    assert "without its picture" in lines[0]
    assert lines[1:5] == [
        f"--- material {marker}",
        'prompt: "What is it?"',
        'response: "A cat."',
        f"--- end of material {marker}",
    ]
    assert lines[-1].startswith(f'{{"case": "{code}", "understood": one sentence, "grounding": ')


def test_a_picture_goes_before_the_words_and_is_announced():
    content = chat(question(image="images/a.png"), picture="data:image/jpeg;base64,AA==")[1][
        "content"
    ]
    assert content[0] == {
        "type": "image_url",
        "image_url": {"url": "data:image/jpeg;base64,AA==", "detail": "low"},
    }
    assert content[1]["type"] == "text"
    assert "The picture is attached." in content[1]["text"].split("\n")[0]


def test_a_caption_is_announced_as_one():
    asked = question(texts={**TEXTS, "image_description": "a cat"})
    lines = chat(asked)[1]["content"].split("\n")
    assert "image_description says" in lines[0]
    assert 'image_description: "a cat"' in lines


@pytest.mark.parametrize("name", PROMPTS)
def test_the_form_that_a_judge_sees_is_no_answer_itself(name):
    last = chat(question(), prompt=PROMPTS[name])[1]["content"].split("\n")[-1]
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(last)
