"""Texts and pictures of the rows shown: small, ours, and honest about what is missing."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from nsgauge.eval.report.exhibits import THUMBNAIL_BYTES, THUMBNAIL_SIDE, exhibits_of, thumbnail


def noise(*, width, height, seed=0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, *, kind="PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def exhibit(world, triple_id, *, images=None, judge="human"):
    inputs = world.inputs()
    return exhibits_of(
        [triple_id],
        triples=[inputs.triples.slice(0, 1), inputs.triples.slice(1)],
        verdicts=inputs.verdicts,
        judge=judge,
        images=images,
    )[triple_id]


@pytest.mark.parametrize(("width", "height"), [(3000, 1000), (40, 30), (1, 50)])
def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(width, height):
    text = thumbnail(encoded(noise(width=width, height=height)))
    assert text is not None
    kind, _, data = text.partition(",")
    assert kind == "data:image/jpeg;base64"
    content = b64decode(data)
    assert len(content) <= THUMBNAIL_BYTES
    with Image.open(BytesIO(content)) as image:
        assert max(image.size) <= THUMBNAIL_SIDE
        assert image.size[0] / image.size[1] == pytest.approx(width / height, rel=0.2)


def test_nothing_of_the_original_file_is_carried_over():
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    original = encoded(
        noise(width=60, height=60), kind="JPEG", exif=exif, comment=b"secret", icc_profile=b"secret"
    )
    assert original.count(b"secret") == 3
    text = thumbnail(original + b"secret")
    assert text is not None
    content = b64decode(text.partition(",")[2])
    assert b"secret" not in content


def test_texts_are_cut_and_the_first_reason_counts(world):
    world.triple("beta", "other")
    triple_id = world.triple("alpha", "a", prompt="p" * 999, response="r" * 5000, caption="c")
    world.verdict(triple_id, "human", state="refused")
    world.cell(triple_id, "human", "gu", vote=1, reason="because")
    world.cell(triple_id, "human", "gu", vote=2, reason="since")
    world.cell(triple_id, "machine", "gu", reason="beep")
    shown = exhibit(world, triple_id)
    assert (len(shown.prompt), shown.caption, shown.reason) == (999, "c", "because")
    assert (len(shown.response), shown.response[-4:]) == (3000, "r...")
    assert exhibit(world, triple_id, judge="nobody").reason is None


@pytest.mark.parametrize(
    ("name", "note"),
    [("images/none.png", "missing"), ("../out.png", "unsafe path"), ("bad.png", "not an image")],
)
def test_a_picture_that_is_not_shown_says_why(world, tmp_path, name, note):
    (tmp_path / "bad.png").write_text("<svg onload=alert(1)>")
    triple_id = world.triple("alpha", "a", image=name)
    shown = exhibit(world, triple_id, images=tmp_path)
    assert (shown.picture, shown.picture_note) == (None, note)


def test_a_picture_is_shown_only_where_its_folder_is_given(world, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(noise(width=20, height=20)))
    triple_id = world.triple("alpha", "a", image="a.png")
    assert exhibit(world, triple_id, images=tmp_path).picture.startswith("data:image/jpeg")
    assert exhibit(world, triple_id).picture is None
