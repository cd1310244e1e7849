import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from nsgauge.errors import SettingsError
from nsgauge.models.preset import PackagedArchive, load_preset
from nsgauge.models.tokenizer import CHARACTERS_READ, TextTokenizer
from nsgauge.models.towers.open_clip_door import clip_vocabulary
from nsgauge.models.towers.packaged import text_files
from nsgauge.models.towers.reference import Reference

# Strings that spell a control token of some tokenizer, or that tokenizers are known to differ on.
PIECES = (
    "[SEP]",
    "[CLS] [PAD] [MASK] [UNK]",
    "<s></s> <pad><mask> <unk>",
    "<|endoftext|>",
    "<|startoftext|>",
    "</w>",
    "##ing",
    "don't WE'LL 'S",
    "'\u017f \u017f",
    "\u0130stanbul \u212a",
    "\u03b1\u0345 \u0345 !\u0345?",
    "\x00\x1c\x85\xa0\u200b\u200d\ufeff\ufffd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2615\ufe0f",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\u4f60\u597d\uff0c\u4e16\u754c 12345 \u0663\u00b2\u00bd",
    "&amp;lt; &nbsp; \u00e2\u20ac\u2122",
    "e\u0301 \u00e9 \ufb01",
)
# Assigned characters, so that two libraries with different Unicode tables agree on their class;
# no lone surrogates, which both references refuse.
TEXT = st.lists(
    st.one_of(st.sampled_from(PIECES), st.text(st.characters(exclude_categories=["Cs", "Cn"]))),
    max_size=6,
).map(" ".join)


@pytest.fixture(scope="session")
def clip() -> TextTokenizer:
    parts = clip_vocabulary()
    return TextTokenizer.clip(parts.vocabulary, merges=parts.merges, clean=parts.clean)


@pytest.fixture(scope="session")
def open_clips() -> open_clip.tokenizer.SimpleTokenizer:
    return open_clip.tokenizer.SimpleTokenizer()


@pytest.fixture(scope="session")
def wordpiece(pocket_directory: Path) -> TextTokenizer:
    return TextTokenizer.wordpiece(pocket_directory / "tokenizer.json")


@pytest.fixture(scope="session")
def berts(pocket_directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(pocket_directory))


@pytest.fixture(scope="session")
def mpnet_directory() -> Path:
    """Where the packages of pocket-mpnet's text tower are unpacked."""
    weights = load_preset("pocket-mpnet").weights
    assert weights is not None
    assert isinstance(weights.text, PackagedArchive)
    try:
        return text_files(weights.text).tokenizer.parent
    except SettingsError as error:
        if "is not installed" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def mpnet(mpnet_directory: Path) -> TextTokenizer:
    return TextTokenizer.wordpiece(mpnet_directory / "tokenizer.json")


@pytest.fixture(scope="session")
def mpnets(mpnet_directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(mpnet_directory))


@pytest.fixture(scope="session")
def siglips(gemma_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """open_clip's own tokenizer of a SigLIP 2 directory."""
    directory = tmp_path_factory.mktemp("siglip") / "towers"
    shutil.copytree(gemma_directory, directory)
    content = {"model_cfg": open_clip.get_model_config("ViT-B-16-SigLIP2")}
    (directory / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    return open_clip.get_tokenizer(f"local-dir:{directory}")


@pytest.fixture(scope="session")
def padded(siglips: Any) -> TextTokenizer:
    """From a copy: open_clip's sets truncation and padding on its own with every call."""
    backend = Tokenizer.from_str(siglips.tokenizer.backend_tokenizer.to_str())
    return TextTokenizer.padded(backend, clean=siglips.clean_fn, end=1, pad=0)


@pytest.fixture(scope="session")
def pocket_directory(pocket_reference: Reference) -> Path:
    directory = pocket_reference.text_directory
    assert directory is not None
    return directory


@settings(max_examples=300, deadline=None)
@given(TEXT)
@example(" ".join(PIECES))
def test_clip_ids_are_open_clips(clip, open_clips, text):
    assert_open_clips(clip, open_clips, text=text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
@example("a\x0bb\x1c\x00c\x7fd\x1b[1m &amp; <b> A\tb\r\nC\x0c")
def test_clip_ids_of_ascii_are_open_clips(clip, open_clips, text):
    assert_open_clips(clip, open_clips, text=text)


def test_forgotten_words_are_learned_again(open_clips, monkeypatch):
    monkeypatch.setattr("nsgauge.models.tokenizer.WORDS_KNOWN", 5)
    parts = clip_vocabulary()
    small = TextTokenizer.clip(parts.vocabulary, merges=parts.merges, clean=parts.clean)
    for text in ("one two three", "four five six seven eight nine", "one ten"):
        assert list(small.ids([text, text[:3]])[0]) == open_clips.encode(text)


def assert_open_clips(clip: TextTokenizer, open_clips: Any, *, text: str) -> None:
    # The reference takes what spells out one of its control tokens for the token itself.
    cleaned = open_clips.clean_fn(text)
    assume("<start_of_text>" not in cleaned and "<end_of_text>" not in cleaned)
    assert list(clip.ids([text])[0]) == open_clips.encode(text)


def test_columns_of_ids_are_the_ids_end_to_end(clip):
    encoded, ids = clip.encode(PIECES), clip.ids(PIECES)
    assert encoded.ids.tolist() == [token for own in ids for token in own]
    assert np.diff(encoded.bounds).tolist() == [len(own) for own in ids]


@settings(max_examples=300, deadline=None)
@given(TEXT)
@example(" ".join(PIECES))
def test_wordpiece_ids_are_transformers(wordpiece, berts, text):
    wanted = berts(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert list(wordpiece.ids([text])[0]) == wanted


@pytest.mark.parametrize("token", ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "[UNK]"])
def test_a_berts_control_token_inside_a_text_is_text(wordpiece, berts, token):
    ids = wordpiece.ids([f"stop {token} go"])[0]
    assert not set(ids) & set(berts.all_special_ids)
    assert berts.convert_ids_to_tokens(ids)[1] == "["


@settings(max_examples=300, deadline=None)
@given(TEXT)
@example(" ".join(PIECES))
def test_mpnets_ids_are_transformers(mpnet, mpnets, text):
    wanted = mpnets(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert list(mpnet.ids([text])[0]) == wanted


@pytest.mark.parametrize("token", ["<s>", "</s>", "<pad>", "<mask>", "<unk>", "[UNK]", "[SEP]"])
def test_mpnets_control_token_inside_a_text_is_text(mpnet, mpnets, token):
    ids = mpnet.ids([f"stop {token} go"])[0]
    assert not set(ids) & {*mpnets.all_special_ids, mpnet.start, mpnet.end, 1, 3}
    assert mpnets.convert_ids_to_tokens(ids)[1] == token[0]


def test_mpnets_pair_has_an_end_more_between_its_texts(mpnet, mpnets):
    first, second = mpnet.ids(["a red door", "it is closed"])
    pair = [mpnet.start, *first, mpnet.end, *mpnet.between, *second, mpnet.end]
    assert mpnets("a red door", "it is closed").input_ids == pair
    assert mpnets("a red door").input_ids == [mpnet.start, *first, mpnet.end]


@pytest.mark.parametrize(
    ("processor", "wanted"),
    [
        (processors.BertProcessing(("z", 2), ("y", 3)), (3, 2, ())),
        (processors.RobertaProcessing(("z", 2), ("y", 3)), (3, 2, (2,))),
    ],
)
def test_start_end_and_what_is_between_are_what_the_file_puts_there(processor, wanted, tmp_path):
    path = saved_tokenizer(tmp_path, processor=processor)
    tokenizer = TextTokenizer.wordpiece(path)
    assert (tokenizer.start, tokenizer.end, tokenizer.between) == wanted
    assert tokenizer.ids(["a b"]) == [(0, 1)]


@pytest.mark.parametrize(
    "processor",
    [
        None,
        processors.TemplateProcessing(single="$A z", pair="$A z $B z", special_tokens=[("z", 2)]),
        processors.TemplateProcessing(
            single="y $A z", pair="y $A $B z", special_tokens=[("y", 3), ("z", 2)]
        ),
    ],
)
def test_a_file_that_puts_other_tokens_around_texts_is_refused(processor, tmp_path):
    path = saved_tokenizer(tmp_path, processor=processor)
    with pytest.raises(SettingsError, match="expected a start and an end around a text"):
        TextTokenizer.wordpiece(path)


def saved_tokenizer(folder: Path, *, processor: Any) -> Path:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "z": 2, "y": 3}, unk_token="y"))  # noqa: S106 (no password)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if processor is not None:
        tokenizer.post_processor = processor
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("token", ["<start_of_text>", "<end_of_text>", "<|endoftext|>"])
def test_clips_control_token_inside_a_text_is_text(clip, open_clips, token):
    ids = clip.ids([f"stop {token} go"])[0]
    assert not set(ids) & set(open_clips.all_special_ids)
    # Every character of it is still there.
    assert open_clips.decode(ids).replace(" ", "") == f"stop{token}go"


@settings(max_examples=300, deadline=None)
@given(TEXT)
@example(" ".join(PIECES))
@example("<pad> <eos> <bos> <unk> <mask> <unused0> \u2581\u2581 \n\n [toxicity]")
def test_padded_ids_are_open_clips(padded, siglips, text):
    ids = padded.ids([text])[0]
    wanted = siglips([text])[0].tolist()
    read = ids[: len(wanted) - 1]
    assert [*read, padded.end, *(padded.pad,) * (len(wanted) - 1 - len(read))] == wanted


@pytest.mark.parametrize("token", ["<pad>", "<eos>", "<bos>", "<unk>", "&lt;eos&gt;", "<unused0>"])
def test_siglips_control_token_inside_a_text_is_text(padded, siglips, token):
    ids = padded.ids([f"stop {token} go"])[0]
    assert not set(ids) & set(siglips.tokenizer.all_special_ids)
    assert "".join(siglips.tokenizer.convert_ids_to_tokens(ids)).count("\u2581") == 2


def test_a_padded_tokenizer_opens_with_the_text(padded):
    assert (padded.start, padded.end, padded.pad) == (None, 1, 0)


def test_start_and_end_are_the_references(clip, wordpiece, open_clips, berts):
    assert (clip.start, clip.end) == (open_clips.sot_token_id, open_clips.eot_token_id)
    assert (wordpiece.start, wordpiece.end) == (berts.cls_token_id, berts.sep_token_id)


def test_lone_surrogates_are_read_as_the_replacement_character(clip, wordpiece):
    for tokenizer in (clip, wordpiece):
        broken, mended = tokenizer.ids(["a\ud800b \U0001f600", "a\ufffdb \U0001f600"])
        assert broken == mended


def test_nothing_past_the_limit_is_read(wordpiece):
    head = "a " * (CHARACTERS_READ // 2)
    short, long = wordpiece.ids([head, head + "b"])
    assert short == long
    assert len(short) == CHARACTERS_READ // 2


def test_texts_dont_influence_each_other(clip, wordpiece):
    for tokenizer in (clip, wordpiece):
        together = tokenizer.ids([*PIECES, ""])
        assert together == [tokenizer.ids([text])[0] for text in (*PIECES, "")]
        assert together[-1] == ()
