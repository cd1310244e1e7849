import io
import os
import struct
import threading
import time
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nsgauge.data.images import (
    PIXELS_LIMIT,
    ImageStore,
    decode_image,
    image_digest,
    pixels,
    read_image,
)
from nsgauge.errors import ImageError

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
NORMALISED = {"mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def noise(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def code_of(content):
    with pytest.raises(ImageError) as caught:
        decode_image(content)
    return caught.value.code


def chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_that_claims(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_comes_out_as_rgb_of_its_size(kind):
    image = decode_image(encoded(noise(40, 30), kind))
    assert (image.mode, image.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_format_keeps_every_pixel(kind):
    original = noise(17, 23)
    assert np.array_equal(np.asarray(decode_image(encoded(original, kind))), np.asarray(original))


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PDF", "EPS"])
def test_a_format_outside_the_list_is_not_an_image(kind):
    assert code_of(encoded(noise(32, 32), kind)) == "not_an_image"


def test_a_web_page_named_as_a_picture_is_not_an_image():
    assert code_of(b"<!doctype html><title>404</title>") == "not_an_image"


def test_no_bytes_are_empty():
    assert code_of(b"") == "empty"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(kind, share):
    content = encoded(noise(64, 64), kind)
    assert code_of(content[: int(len(content) * share)]) in {"damaged", "not_an_image"}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(FORMATS),
    place=st.floats(0, 1),
    flipped=st.integers(1, 255),
    count=st.integers(1, 4),
)
def test_damage_gives_a_picture_or_an_image_error_and_no_warning(kind, place, flipped, count):
    content = bytearray(encoded(noise(24, 16), kind))
    start = int(place * (len(content) - count))
    for offset in range(start, start + count):
        content[offset] ^= flipped
    with suppress(ImageError):
        assert decode_image(bytes(content)).mode == "RGB"


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a"]))
def test_random_bytes_are_an_image_error(content, start):
    with pytest.raises(ImageError):
        decode_image(start + content)


@pytest.mark.parametrize(("width", "height"), [(8000, 8000), (12000, 12000), (60000, 60000)])
def test_a_decompression_bomb_is_refused_by_its_header(width, height):
    start = time.perf_counter()
    assert code_of(png_that_claims(width, height)) == "too_large"
    assert time.perf_counter() - start < 1


def test_a_real_bomb_is_refused_without_being_unpacked():
    side = int(PIXELS_LIMIT**0.5) + 1
    content = encoded(Image.new("1", (side, side)))
    assert len(content) < 100_000
    assert code_of(content) == "too_large"


def test_a_ribbon_is_refused():
    assert code_of(encoded(Image.new("L", (1, 101)))) == "bad_shape"
    assert decode_image(encoded(Image.new("L", (1, 100)))).size == (1, 100)


def test_sixteen_bit_grey_is_within_one_step_of_eight_bit():
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sixteen = Image.fromarray(eight.astype(np.uint16) * 257)
    decoded = np.asarray(decode_image(encoded(sixteen)))
    assert np.array_equal(decoded[..., 0], eight)
    between = Image.fromarray(np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64))
    wanted = np.arange(0, 65536, 16).reshape(64, 64) / 257
    for kind in ("PNG", "TIFF"):
        found = np.asarray(decode_image(encoded(between, kind)))[..., 0]
        assert np.abs(found - wanted).max() <= 0.5


def test_float_and_wide_integers_are_refused_rather_than_turned_black():
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert code_of(encoded(Image.fromarray(values), "TIFF")) == "unsupported_mode"
    assert code_of(encoded(Image.fromarray(values.astype(np.int32)), "TIFF")) == "unsupported_mode"


def test_what_is_transparent_shows_white_and_not_what_lies_beneath():
    hidden = Image.new("RGBA", (4, 4), (200, 10, 10, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert decode_image(encoded(hidden)).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encoded(half)).getpixel((0, 0)) == pytest.approx((127,) * 3, abs=1)


def test_palette_and_plain_transparency_show_white_too():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([200, 10, 10, 0, 0, 255])
    for kind in ("PNG", "GIF"):
        content = encoded(palette, kind, transparency=0)
        assert decode_image(content).getpixel((0, 0)) == (255, 255, 255)
    content = encoded(Image.new("RGB", (4, 4), (9, 8, 7)), transparency=(9, 8, 7))
    assert decode_image(content).getpixel((0, 0)) == (255, 255, 255)
    content = encoded(Image.fromarray(np.full((4, 4), 700, np.uint16)), transparency=700)
    assert decode_image(content).getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_turns_the_picture_upright():
    turns = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    original = noise(6, 4)
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        decoded = np.asarray(decode_image(encoded(original, exif=exif)))
        assert np.array_equal(decoded, turn(np.asarray(original))), orientation


def test_an_animation_is_its_first_frame():
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    content = encoded(first, "GIF", save_all=True, append_images=[second])
    assert decode_image(content).getpixel((3, 3)) == (255, 0, 0)


def test_a_jpeg_with_a_second_picture_inside_is_still_a_jpeg(tmp_path):
    content = encoded(noise(16, 16), "MPO", save_all=True, append_images=[noise(16, 16, seed=1)])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    assert ImageStore(tmp_path).add(content).endswith(".jpg")


def test_print_colours_become_rgb():
    image = decode_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = np.asarray(image)[4, 4]
    assert red > 200
    assert max(green, blue) < 60


def test_a_warning_of_pillows_is_an_image_error():
    # One EXIF entry that claims 65,535 bytes where there are none.
    entry = struct.pack("<HHHII", 1, 0x010F, 2, 65535, 256)
    app1 = b"Exif\x00\x00II*\x00" + struct.pack("<I", 8) + entry
    plain = encoded(noise(8, 8), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert code_of(plain[:2] + segment + plain[2:]) == "suspect"


def test_decoding_leaves_pillow_and_the_warning_filters_as_they_were():
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    contents = [encoded(noise(64, 48, seed=seed), "JPEG") for seed in range(20)]

    def work():
        for content in contents:
            decode_image(content)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


@pytest.mark.parametrize("size", [(224, 224), (500, 375), (375, 501), (31, 77), (1000, 33), (5, 5)])
@pytest.mark.parametrize(("resize", "mode"), [("crop", "shortest"), ("squash", "squash")])
@pytest.mark.parametrize("side", [32, 225])
def test_pixels_are_open_clips_bit_for_bit(size, resize, mode, side):
    image = noise(*size)
    transform = open_clip.image_transform(side, is_train=False, resize_mode=mode, **NORMALISED)
    ours = pixels(image, side=side, resize=resize).astype(np.float32) / 255
    means, stds = (np.array(values)[:, None, None] for values in NORMALISED.values())
    theirs = transform(image).numpy() * stds + means
    assert np.array_equal(np.round(theirs * 255), np.round(ours * 255))


def test_pixels_refuse_what_was_not_decoded():
    with pytest.raises(ValueError, match="decode_image"):
        pixels(Image.new("L", (8, 8)), side=8, resize="crop")


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/hostname", "../secret.png", "a/../../secret.png", "http://host/a.png"),
        *("file:///etc/hostname", "\\\\host\\share\\a.png", "C:\\a.png", "C:a.png", "a\0.png", ""),
        *("link.png", "folder/../../secret.png"),
    ],
)
def test_a_path_that_leaves_the_root_is_refused(path, tmp_path):
    (tmp_path / "secret.png").write_bytes(encoded(noise(4, 4)))
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ImageError) as caught:
        read_image(root, path)
    assert caught.value.code == "unsafe_path"


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.sampled_from(["..", ".", "a", "b", "out", "", "~", "%2e%2e"]), max_size=8))
def test_no_path_reads_a_byte_outside_the_root(steps, tmp_path_factory):
    top = tmp_path_factory.mktemp("top")
    inner = top / "root" / "a"
    inner.mkdir(parents=True)
    for folder in (top, top / "root", inner):
        (folder / "b").write_bytes(str(folder).encode())
    (inner / "out").symlink_to(top)
    with suppress(ImageError):
        assert read_image(top / "root", "/".join(steps)) != str(top).encode()


def test_a_link_inside_the_root_is_followed(tmp_path):
    (tmp_path / "real.png").write_bytes(b"bytes")
    (tmp_path / "link.png").symlink_to("real.png")
    assert read_image(tmp_path, "link.png") == b"bytes"


def test_files_that_cannot_be_read_have_their_own_codes(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    codes = {}
    for name in ("folder", "empty.png", "pipe.png", "none.png", "loop.png", "x" * 5000):
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path, name)
        codes[name[:9]] = caught.value.code
    loop = codes.pop("loop.png")
    assert codes == {
        "folder": "not_a_file",
        "empty.png": "empty",
        "pipe.png": "not_a_file",
        "none.png": "missing",
        "xxxxxxxxx": "unreadable",
    }
    assert loop in {"unsafe_path", "missing"}


def test_the_store_keeps_the_bytes_under_their_digest_once(tmp_path):
    content = encoded(noise(9, 9))
    store = ImageStore(tmp_path / "data")
    name = store.add(content)
    assert name == f"images/{image_digest(content)}.png"
    assert store.add(content) == name
    assert [path.name for path in (tmp_path / "data" / "images").iterdir()] == [Path(name).name]
    assert read_image(tmp_path / "data", name) == content


def test_the_suffix_follows_the_contents_and_not_the_name(tmp_path):
    (tmp_path / "photo.png").write_bytes(encoded(noise(9, 9), "JPEG"))
    assert ImageStore(tmp_path).add_file(tmp_path, "photo.png").endswith(".jpg")


def test_a_picture_that_fails_once_fails_every_time_and_is_not_stored(tmp_path):
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    store = ImageStore(tmp_path / "data")
    for _ in range(2):
        with pytest.raises(ImageError) as caught:
            store.add_file(tmp_path, "page.jpg")
        assert caught.value.code == "not_an_image"
    assert not (tmp_path / "data").exists()
