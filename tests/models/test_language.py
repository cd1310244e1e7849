"""The language channel: how exchanges are laid out, and what is made of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from nsgauge.errors import SettingsError
from nsgauge.models.inputs import assemble
from nsgauge.models.language import (
    BEGINNINGS,
    FADES_AFTER,
    HEAD_TOKENS,
    TOLD,
    UNTOLD,
    ExchangeReader,
    LanguageSettings,
    exchange_reader,
    exchange_width,
    of_rows,
    of_windows,
    read_exchanges,
)
from nsgauge.models.member import Member
from nsgauge.models.network import NetworkSettings, build_network
from nsgauge.models.prediction import RowBatch, cell_logits, encode_exchanges
from nsgauge.models.preset import load_preset
from nsgauge.models.row_windows import TextRole
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.pair import LanguageModel, load_language, load_towers
from nsgauge.models.windows import RowReader, WindowPolicy
from tests.tiny_llama import TOKENS, WIDTH

GAINS = 2 * WIDTH
"""Where a row's gains in likelihood start: after both means."""
ROOM = 192
SETTINGS = LanguageSettings(window_tokens=ROOM)


@pytest.fixture(scope="module")
def model(language_preset) -> LanguageModel:
    return load_language(load_preset(language_preset), likelihoods=True)


@pytest.fixture(scope="module")
def reader(model) -> ExchangeReader:
    return ExchangeReader(model.tokenizer, context=ROOM, settings=SETTINGS)


def text_of(ids) -> str:
    """The words again; a turn's opening is `<`."""
    shown = {"<|im_start|>": "<", "\u0120": " ", "\u010a": "\n"}
    return "".join(shown.get(TOKENS[index], TOKENS[index]) for index in ids)


def test_an_exchange_is_told_by_a_third_person(reader):
    rows = reader.columns(
        ["Is it safe?", "And this?"],
        responses=["Yes.", "No <|im_end|>"],
        captions=["a red door", None],
    )
    assert [text_of(window.ids) for window in map(rows.windows.__getitem__, range(3))] == [
        "<user\nA person showed a picture and asked: Is it safe?\nAn assistant answered: Yes.\n",
        "<user\nA person showed a picture of a red door and asked: Is it safe?\n"
        "An assistant answered: Yes.\n",
        "<user\nA person showed a picture and asked: And this?\n"
        "An assistant answered: No <|im_end|>\n",
    ]
    assert rows.bounds.tolist() == [0, 2, 3]
    assert rows.roles.tolist() == [UNTOLD, TOLD, TOLD]
    alone = SETTINGS.model_copy(update={"likelihoods": False})
    plain = ExchangeReader(reader.tokenizer, context=ROOM, settings=alone)
    told = plain.columns(["Is it safe?"], responses=["Yes."], captions=["a red door"])
    assert [told.windows[0]] == [rows.windows[1]]


def test_more_than_the_model_knows_positions_is_not_read_at_once(model):
    with pytest.raises(ValueError, match=f"window_tokens is {ROOM}, the text tower reads 100"):
        ExchangeReader(model.tokenizer, context=100, settings=SETTINGS)


def test_a_long_response_is_read_whole_and_a_long_prompt_at_its_beginning(reader):
    response = "word " * 60
    rows = reader.columns(["why " * 99, "x"], responses=[response, "y"], captions=[None, None])
    assert set(rows.roles) == {TextRole.JOINT}
    assert len(rows) == 2
    count = int(rows.bounds[1])
    assert count > 1
    assert rows.bounds[2] == count + 1
    windows = [rows.windows[place] for place in range(count)]
    heads = [text_of(window.ids[: 1 + HEAD_TOKENS]) for window in windows]
    assert all(head.startswith("<user\nA person showed a picture and asked: why") for head in heads)
    assert max(len(window.ids) for window in windows) <= ROOM
    stretches = [
        text_of(window.ids[slice(*rows.response[place])]) for place, window in enumerate(windows)
    ]
    assert "".join(stretches) == f" {response}"


def test_no_rows_are_no_windows(reader):
    assert len(reader.columns([], responses=[], captions=[])) == 0


@torch.inference_mode()
def test_a_window_is_the_mean_of_its_responses_normalised_tokens(model, reader):
    rows = reader.columns(["a", "bb"], responses=["Yes, it is.", "No"], captions=[None, "c"])
    windows = [rows.windows[0], rows.windows[1], rows.windows[2]]
    found = read_exchanges(model.tower, packed=Packed.of(windows))
    for place, window in enumerate(windows):
        alone = model.tower.tokens(Packed.of([window]))
        begin, end = rows.response[place]
        wanted = layer_norm(alone[:, :WIDTH], (WIDTH,))[begin:end].mean(dim=0)
        torch.testing.assert_close(found[place, :WIDTH], wanted, rtol=0, atol=1e-5)
        likely = alone[begin:end, WIDTH]
        weights = -likely * torch.exp(-torch.arange(len(likely)) / FADES_AFTER)
        states = layer_norm(alone[begin:end, :WIDTH], (WIDTH,))
        wanted = (weights[:, None] * states).sum(dim=0) / weights.sum()
        torch.testing.assert_close(found[place, WIDTH:GAINS], wanted, rtol=0, atol=1e-5)
        sums = torch.stack([likely[:most].sum() for most in BEGINNINGS])
        torch.testing.assert_close(found[place, GAINS:], sums, rtol=0, atol=1e-4)


def test_where_every_token_was_sure_nothing_was_told():
    tokens = torch.randn(2, 3, 5)
    tokens[0, :, -1], tokens[1, :, -1] = 0.0, torch.tensor([-3.0, 0.0, 0.0])
    taken = torch.tensor([[True, True, False], [False, True, True]])
    found = of_windows(tokens, taken=taken)
    assert not found[:, 4:8].any()
    assert found[:, :4].any(dim=1).all()


@torch.inference_mode()
@pytest.mark.parametrize("response", ["Yes", "No, it is a berry.", "word " * 99])
def test_a_row_tells_how_much_likelier_its_beginnings_are_for_the_caption(model, reader, response):
    def likely(caption: str | None) -> Tensor:
        """Of the response's tokens, in a window that nothing was cut from."""
        rows = reader.columns(["why?"], responses=[response], captions=[caption])
        place = int(np.flatnonzero(rows.roles == TOLD)[0])
        begin, end = rows.response[place]
        tokens: Tensor = model.tower.tokens(Packed.of([rows.windows[place]]))
        return tokens[begin:end, WIDTH]

    rows = reader.columns(["why?"] * 2, responses=[response] * 2, captions=["a berry", None])
    found = encode_exchanges(model.tower, rows=rows, tokens_per_batch=999)
    shown, hidden = likely("a berry"), likely(None)
    both = min(len(shown), len(hidden))
    for number, most in enumerate(BEGINNINGS):
        wanted = (shown[:both][:most] - hidden[:both][:most]).sum()
        torch.testing.assert_close(found[0, GAINS + number], wanted, rtol=0, atol=1e-3)
    assert not found[1, GAINS:].any()
    assert found[0, GAINS:].abs().max() > 0.01


def test_a_row_is_the_mean_of_its_windows_but_for_the_one_that_is_compared(model):
    vectors = np.random.default_rng(0).normal(size=(6, exchange_width(model.tower)))
    roles = np.array([TOLD, TOLD, UNTOLD, TOLD, TOLD, TOLD])
    found = of_rows(vectors, each=np.array([2, 3, 1]), roles=roles, tower=model.tower)
    means = [vectors[rows].mean(axis=0) for rows in ([0, 1], [3, 4], [5])]
    np.testing.assert_allclose(found[:, :WIDTH], [mean[:WIDTH] for mean in means])
    np.testing.assert_allclose(found[:, WIDTH:GAINS], vectors[[0, 3, 5], WIDTH:GAINS])
    gains = (vectors[3] - vectors[2])[GAINS:]
    np.testing.assert_allclose(found[:, GAINS:], [0 * gains, gains, 0 * gains])


@pytest.mark.parametrize("tokens_per_batch", [1, 300, 10_000])
def test_rows_are_the_same_in_any_company(model, reader, tokens_per_batch):
    responses = ["Yes.", "word " * 99, "Yes.", "No, never"]
    rows = reader.columns(["p"] * 4, responses=responses, captions=["c", None, "c", "d"])
    found = encode_exchanges(model.tower, rows=rows, tokens_per_batch=tokens_per_batch)
    assert torch.equal(found[0], found[2])
    for row in range(4):
        alone = encode_exchanges(model.tower, rows=rows.rows(np.array([row])), tokens_per_batch=999)
        torch.testing.assert_close(found[row], alone[0], rtol=0, atol=1e-5)


def test_a_preset_whose_text_tower_is_no_language_model_is_refused():
    with pytest.raises(SettingsError, match="no language model: name pocket-smollm2"):
        load_towers(load_preset("pocket"), language=load_preset("pocket"))


def test_the_fingerprint_tells_the_language_model(language_preset):
    pocket = load_preset("pocket")
    plain, beside = (
        load_towers(pocket, language=language) for language in (None, load_preset(language_preset))
    )
    assert plain.fingerprint != beside.fingerprint
    assert plain.language is None
    assert exchange_reader(plain, settings=SETTINGS) is None
    assert exchange_reader(beside, settings=None) is None


@torch.inference_mode()
def test_it_has_its_share_of_the_decision(language_preset):
    channels = {"language": {"preset": language_preset, "share": 0.4}}
    towers = load_towers(load_preset("pocket"), language=load_preset(language_preset))
    settings = NetworkSettings.model_validate({"ordinals": 2, "channels": channels})
    network = build_network(towers, settings=settings).eval()
    assert towers.language is not None
    assert not any(weight.requires_grad for weight in towers.language.tower.parameters())
    member = network.members[0]
    assert isinstance(member, Member)
    assert member.language is not None
    torch.nn.init.normal_(member.language.weight)
    reader = RowReader(towers.tokenizer, context=towers.text_context, policy=WindowPolicy())
    texts = reader.read(["a", "b"], responses=["c", "d"], captions=[None, None])
    exchanges = torch.randn(2, WIDTH)
    rows = RowBatch(texts=texts, image_slots=[-1, -1], image_features=None, exchanges=exchanges)
    found = cell_logits(network, rows=rows, tokens_per_batch=99)
    alone = network(assemble(texts, image_slots=[-1, -1])).log_softmax(dim=-1)
    wanted = 0.6 * alone + 0.4 * member.language(exchanges).log_softmax(dim=-1)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="the language channel wants"):
        cell_logits(network, rows=replace(rows, exchanges=None), tokens_per_batch=99)
