"""Draws the sample world's pictures: a jittered ground, distractors, one thing, its mark.

A thing is drawn on its own layer in unit coordinates ((0, 0) is the top left corner of the layer,
(1, 1) the bottom right one), at twice the final side, then turned, shrunk and laid on the ground.
"""

import colorsys
from random import Random

from PIL import Image

from nsgauge.data.sample.kinds import Kind, Variant
from nsgauge.data.sample.pen import Colour, Pen
from nsgauge.data.sample.shapes import SHAPES

SIDE_PX = 224
_OVERSAMPLING = 2
_DISTRACTORS = (2, 5)


def draw_picture(kind: Kind, *, variant: Variant, rng: Random) -> Image.Image:
    """One picture, RGB, `SIDE_PX` on each side.

    Args:
        kind: What is shown.
        variant: Which look-alike.
        rng: Position, size, turn, colours and distractors are drawn from it.
    """
    side = SIDE_PX * _OVERSAMPLING
    picture = _ground(side, rng=rng)
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    SHAPES[kind.name](Pen(layer, rng=rng), variant)
    share = rng.uniform(0.80, 0.98)
    # Turned by nearest neighbour, which Pillow does in integers: the same pixels everywhere.
    thing = layer.rotate(rng.uniform(-9, 9), resample=Image.Resampling.NEAREST)
    thing = thing.resize((round(side * share),) * 2, resample=Image.Resampling.BICUBIC)
    room = side - thing.width
    picture.paste(thing, (rng.randint(0, room), rng.randint(0, room)), thing)
    return picture.reduce(_OVERSAMPLING)


def _ground(side: int, *, rng: Random) -> Image.Image:
    """A pale two-tone ground with a few pale shapes that mean nothing."""
    hue = rng.random()
    picture = Image.new("RGB", (side, side), _pale(hue, rng=rng))
    pen = Pen(picture, rng=rng)
    horizon = rng.uniform(0.55, 0.8)
    pen.box(0.0, horizon, 1.0, 1.0, fill=_pale(hue + rng.uniform(0.05, 0.3), rng=rng))
    for _ in range(rng.randint(*_DISTRACTORS)):
        x, y, radius = rng.random(), rng.random(), rng.uniform(0.03, 0.09)
        fill = _pale(rng.random(), rng=rng)
        if rng.random() < 0.5:
            pen.disc(x, y, radius, fill=fill)
        else:
            pen.box(x - radius, y - radius, x + radius, y + radius, fill=fill)
    return picture


def _pale(hue: float, *, rng: Random) -> Colour:
    shade = colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(0.08, 0.3), rng.uniform(0.75, 0.95))
    red, green, blue = (round(255 * part) for part in shade)
    return red, green, blue
