import pytest
from PIL import Image

from nsgauge.data.images import ImageStore
from nsgauge.data.judge.budget import Tokens, text_tokens
from nsgauge.data.judge.cache import Asked, opened
from nsgauge.data.judge.cases import cases_of
from nsgauge.data.judge.estimate import answers_wanted, estimate_folder, missing_calls
from nsgauge.data.judge.question import messages
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.judge.reply import Reply
from nsgauge.data.tables import SourceNote, write_data
from nsgauge.errors import JudgeError
from nsgauge.records import ResponseState, Triple


@pytest.fixture
def data(tmp_path):
    """Two triples that read the same, one with a picture, one without an answer."""
    store = ImageStore(tmp_path / "pictures")
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9), "red").save(path)
    image = store.add(path.read_bytes())
    rows = [
        Triple(triple_id="a", prompt="p", response="r", caption="c"),
        Triple(triple_id="b", prompt="p", response="r", caption="c"),
        Triple(triple_id="c", prompt="p", response="s", image=image),
        Triple(triple_id="d", prompt="p", response="", response_state=ResponseState.EMPTY),
    ]
    out = tmp_path / "data"
    write_data(
        out,
        triples=rows,
        verdicts=(),
        rejects=(),
        source=SourceNote(importer="test", image_root=store.root),
    )
    return out


def recipe(**content):
    settings = {
        "model": "m",
        "votes": 3,
        "picture": {"show": "image_or_caption", "tokens": 100},
        "sampling": {"max_tokens": 50},
        **content,
    }
    return JudgeRecipe.from_mapping(settings, source="test")


PRICE = {"input_per_million": 2.0, "output_per_million": 8.0, "currency": "EUR"}


def tokens_by_hand(data, asked):
    """What one vote on each distinct question sends: the words of its chat, and the picture."""
    cases = cases_of(data, recipe=asked)
    distinct = {question.key: question for question in cases.questions}.values()
    sent = 0
    for question in distinct:
        system, user = messages(question, prompt=cases.prompt, picture=None, detail="auto")
        sent += text_tokens(system["content"]) + text_tokens(user["content"])
        sent += 100 if question.image else 0
    return sent


def test_the_estimate_adds_up(data, tmp_path):
    asked = recipe(price=PRICE)
    found = estimate_folder(data, recipe=asked, answers=tmp_path / "answers.sqlite")
    sent = 3 * tokens_by_hand(data, asked)
    assert (found.judge, found.triples, found.kept, found.calls) == ("m", 3, 0, 6)
    assert found.left_out == {"response empty": 1}
    assert found.tokens == Tokens(sent, 6 * 50)
    assert found.cost == pytest.approx((sent * 2.0 + 300 * 8.0) / 1e6)
    assert found.currency == "EUR"
    assert found.prompt_hash == cases_of(data, recipe=asked).prompt.prompt_hash


def test_without_a_price_there_is_no_cost(data, tmp_path):
    found = estimate_folder(data, recipe=recipe(), answers=tmp_path / "answers.sqlite")
    assert (found.cost, found.currency) == (None, "")


def test_what_is_kept_is_not_asked_again(data, tmp_path):
    answers = tmp_path / "answers.sqlite"
    cases = cases_of(data, recipe=recipe())
    with opened(answers) as cache:
        calls = missing_calls(cases, cache=cache)
        assert len(calls) == answers_wanted(cases) == 6
        assert len({(call.question.key, call.vote) for call in calls}) == 6
        for call in calls[:4]:
            asked = Asked(
                key=call.question.key, vote=call.vote, judge="m", prompt_hash="h", image_digest=None
            )
            cache.add(asked, reply=Reply(content=None, finish_reason="content_filter"))
        assert missing_calls(cases, cache=cache) == calls[4:]
    found = estimate_folder(data, recipe=recipe(), answers=answers)
    assert (found.kept, found.calls) == (4, 2)
    more = estimate_folder(data, recipe=recipe(votes=5), answers=answers)
    assert (more.kept, more.calls) == (4, 6)


def test_a_picture_costs_what_the_recipe_says(data, tmp_path):
    answers = tmp_path / "answers.sqlite"
    cheap, dear = (
        estimate_folder(
            data,
            recipe=recipe(picture={"show": "image", "tokens": tokens}),
            answers=answers,
        )
        for tokens in (0, 1000)
    )
    assert dear.tokens.minus(cheap.tokens) == Tokens(3 * 1000, 0)


def test_a_file_that_holds_no_answers_is_refused(data, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no database " * 100)
    with pytest.raises(JudgeError, match="no usable file of answers"):
        estimate_folder(data, recipe=recipe(), answers=path)
