import asyncio
import base64
from io import BytesIO

import pytest
from PIL import Image

from nsgauge.data.judge.pictures import Pictures
from nsgauge.errors import ImageError


@pytest.fixture
def save(tmp_path):
    def write(name, picture, **options):
        picture.save(tmp_path / name, **options)
        return name

    return write


def shown(folder, name, *, side=1024):
    """The picture as a judge decodes it."""
    uri = asyncio.run(Pictures(folder, longest_side_px=side).data_uri(name))
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(BytesIO(base64.b64decode(body, validate=True)))


@pytest.mark.parametrize(
    ("size", "side", "wanted"),
    [
        ((64, 32), 64, (64, 32)),
        ((100, 40), 50, (50, 20)),
        ((40, 100), 50, (20, 50)),
        ((900, 10), 90, (90, 1)),
        ((10, 10), 64, (10, 10)),
    ],
)
def test_a_larger_picture_is_scaled_down_and_a_smaller_one_left(save, tmp_path, size, side, wanted):
    name = save("a.png", Image.new("RGB", size, "red"))
    assert shown(tmp_path, name, side=side).size == wanted


def test_a_picture_comes_upright(save, tmp_path):
    picture = Image.new("RGB", (40, 20), "blue")
    picture.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = shown(tmp_path, save("a.jpg", picture, exif=exif, quality=95))
    assert upright.size == (20, 40)
    top, bottom = upright.getpixel((10, 5)), upright.getpixel((10, 35))
    assert top[0] > 200 > top[2]
    assert bottom[2] > 200 > bottom[0]


def test_what_is_transparent_is_white(save, tmp_path):
    name = save("a.png", Image.new("RGBA", (16, 16), (255, 0, 0, 0)))
    assert min(shown(tmp_path, name).getpixel((8, 8))) > 250


def test_colours_survive(save, tmp_path):
    pixel = shown(tmp_path, save("a.png", Image.new("RGB", (32, 32), (200, 100, 50)))).getpixel(
        (16, 16)
    )
    assert all(abs(found - wanted) < 4 for found, wanted in zip(pixel, (200, 100, 50), strict=True))


def test_the_same_picture_gives_the_same_bytes_and_is_read_once(save, tmp_path, monkeypatch):
    save("a.png", Image.effect_noise((64, 64), 50).convert("RGB"))
    read = []
    encoded = Pictures._encoded

    def counted(self, image):
        read.append(image)
        return encoded(self, image)

    monkeypatch.setattr(Pictures, "_encoded", counted)
    pictures = Pictures(tmp_path, longest_side_px=32)
    first = asyncio.run(pictures.data_uri("a.png"))
    assert asyncio.run(pictures.data_uri("a.png")) == first
    assert read == ["a.png"]
    assert asyncio.run(Pictures(tmp_path, longest_side_px=32).data_uri("a.png")) == first


def test_only_those_used_last_are_kept(save, tmp_path, monkeypatch):
    monkeypatch.setattr("nsgauge.data.judge.pictures._KEPT", 2)
    names = [save(f"{n}.png", Image.new("RGB", (8, 8), (n * 90, 0, 0))) for n in range(3)]
    pictures = Pictures(tmp_path, longest_side_px=8)

    async def look():
        for name in (names[0], names[1], names[0], names[2]):
            await pictures.data_uri(name)
        # All at once, and again: nobody loses a picture to another's.
        return await asyncio.gather(*(pictures.data_uri(name) for name in names * 5))

    found = asyncio.run(look())
    assert len(pictures._kept) == 2
    assert found[:3] * 5 == found
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("absent.png", "missing"),
        ("../outside.png", "unsafe_path"),
        ("page.png", "not_an_image"),
        ("cut.jpg", "damaged"),
    ],
)
def test_a_picture_that_cannot_be_shown_has_a_code(save, tmp_path, name, code):
    (tmp_path / "page.png").write_text("<html>gone</html>")
    whole = tmp_path / save("cut.jpg", Image.effect_noise((64, 64), 50))
    whole.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(ImageError) as caught:
        shown(tmp_path, name)
    assert caught.value.code == code
