"""JPEGs that are decoded at a fraction of their size, against the same decoded in full."""

import io

import numpy as np
import pytest
from PIL import Image

from nsgauge.data.images import decode_image, pixels, pixels_of
from nsgauge.errors import ImageError


def jpeg_of(width: int, height: int) -> tuple[bytes, Image.Image]:
    """A smooth photograph-like JPEG, and what it decodes to in full."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / a + y / b) for a, b in ((37, 61), (53, -29), (-71, 43))]
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    drawn = 127 + 90 * np.stack(waves, axis=-1) + noise
    file = io.BytesIO()
    Image.fromarray(drawn.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=88)
    return file.getvalue(), decode_image(file.getvalue())


@pytest.mark.parametrize("size", [(1024, 768), (900, 1900), (448, 448), (450, 449), (300, 500)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_pixels_of_a_scaled_jpeg_are_those_of_the_full_one_but_for_rounding(size, resize):
    content, full = jpeg_of(*size)
    wanted = pixels(full, side=224, resize=resize).astype(int)
    found = pixels_of(content, side=224, resize=resize).astype(int)
    if min(size) < 672:
        np.testing.assert_array_equal(found, wanted)
    assert np.abs(found - wanted).mean() < 1


def test_pixels_of_other_formats_are_those_of_the_decoded_picture():
    file = io.BytesIO()
    drawn = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(drawn).save(file, "PNG")
    wanted = pixels(decode_image(file.getvalue()), side=64, resize="crop")
    np.testing.assert_array_equal(pixels_of(file.getvalue(), side=64, resize="crop"), wanted)


def test_a_scaled_jpeg_that_is_cut_short_is_damaged():
    content, _ = jpeg_of(1024, 1024)
    with pytest.raises(ImageError) as error:
        pixels_of(content[: len(content) // 2], side=64, resize="crop")
    assert error.value.code == "damaged"
