"""The exported reader lays texts, n-grams and pictures out as the package itself does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nsgauge.checkpoints.export_reading import (
    CLEANING,
    Reader,
    Triple,
    count_grams,
    read_picture,
)
from nsgauge.checkpoints.export_tokenizer import load_text, stored_text
from nsgauge.data.images import decode_image, pixels
from nsgauge.models.lexical import LexicalSettings, response_grams
from nsgauge.models.towers.open_clip_door import clip_vocabulary

POLICIES = [
    {"layout": "joint"},
    {"layout": "joint", "caption_tokens": 5, "window_tokens": 20},
    {"layout": "apart", "max_windows": 2},
]


@pytest.fixture(scope="module", params=POLICIES, ids=["joint", "joint with caption", "apart"])
def readers(request, make_bundle):
    """The package's reader and the exported one, of a tower with pairs and of one that pads."""
    pairs = []
    for kind in ("bert", "siglip"):
        bundle = make_bundle(kind, **request.param)
        content, text = stored_text(bundle.towers.tokenizer, context=bundle.towers.text_context)
        windows = bundle.manifest.windows.model_dump(mode="json")
        pairs.append((bundle.reader, Reader(content, text=text.model_dump(), windows=windows)))
    return pairs


WORDS = st.lists(st.integers(0, 95).map(lambda k: f"w{k}"), max_size=90).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(prompt=WORDS, response=WORDS, caption=st.none() | WORDS)
def test_windows_and_grams_are_the_packages(readers, prompt, response, caption):
    counting = LexicalSettings(longest=3)
    for ours, exported in readers:
        wanted = ours.read([prompt], responses=[response], captions=[caption])[0]
        triple = Triple(prompt=prompt, response=response, caption=caption)
        found = exported.read(triple, captions=True)
        windows = [(slot.window.ids, slot.window.segments) for slot in found.slots]
        assert windows == [(tuple(w.ids), tuple(w.segments)) for w in wanted.windows]
        assert [slot.role for slot in found.slots] == [int(role) for role in wanted.roles]
        assert [slot.ordinal for slot in found.slots] == list(wanted.ordinals)
        assert found.truncated == wanted.truncated
        keys, counts = count_grams(found.response, longest=3)
        grams = response_grams([wanted], settings=counting)
        assert keys.tolist() == grams.keys.tolist()
        assert counts.tolist() == grams.counts.tolist()


@pytest.fixture(scope="module")
def open_clips_cleaning():
    return clip_vocabulary().clean


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_cleaning_is_open_clips_on_any_text(open_clips_cleaning, text):
    assert CLEANING["lower"](text) == open_clips_cleaning(text)


def test_a_tokenizer_comes_back_with_its_ids(make_bundle):
    tokenizer = make_bundle("siglip").towers.tokenizer
    content, text = stored_text(tokenizer, context=24)
    again = load_text(content, settings=text, vocabulary=94)
    words = ["w1 w2 other", "", "w89 [UNK]"]
    assert again.ids(words) == tokenizer.ids(words)
    assert (again.start, again.end, again.pad) == (None, 91, 93)


def test_ids_that_the_tower_doesnt_know_are_refused(make_bundle):
    content, text = stored_text(make_bundle("bert").towers.tokenizer, context=24)
    with pytest.raises(ValueError, match="ids up to 92, the tower knows 92"):
        load_text(content, settings=text, vocabulary=92)
    with pytest.raises(ValueError, match="no tokenizer"):
        load_text("{}", settings=text, vocabulary=94)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA"])
@pytest.mark.parametrize("squash", [False, True], ids=["crop", "squash"])
def test_pictures_are_the_packages(tmp_path, mode, squash):
    rng = np.random.default_rng(len(mode))
    image = Image.fromarray(rng.integers(256, size=(41, 90, 4), dtype=np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "picture.png"
    image.save(path, exif=exif)
    wanted = pixels(decode_image(path.read_bytes()), side=32, resize="squash" if squash else "crop")
    found = read_picture(path, side=32, squash=squash)
    assert found is not None
    assert np.array_equal(found, wanted)


def test_what_is_no_picture_is_none(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    assert read_picture(tmp_path / "text.png", side=32, squash=False) is None
    assert read_picture(tmp_path / "absent.png", side=32, squash=False) is None
