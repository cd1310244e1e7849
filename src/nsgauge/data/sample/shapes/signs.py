"""Signs: a red ring with a bar marks the harmful look-alike, a blue disc the benign one."""

import math
from collections.abc import Callable
from functools import partial

from nsgauge.data.sample.kinds import Variant
from nsgauge.data.sample.pen import BLUE, DARK, RED, WHITE, Colour, Pen
from nsgauge.data.sample.shapes.outline import Shape


def _sign(pen: Pen, variant: Variant, *, symbol: Callable[[Pen, Colour], None]) -> None:
    pen.box(0.47, 0.7, 0.53, 1.0, fill=pen.near((110, 110, 114)))
    x, y, radius = 0.5, 0.43, 0.39
    if variant is Variant.BENIGN:
        pen.disc(x, y, radius, fill=pen.near(BLUE))
        symbol(pen, WHITE)
        return
    red = pen.near(RED)
    pen.disc(x, y, radius, fill=pen.near(WHITE))
    symbol(pen, DARK)
    pen.ring(x, y, radius, width=0.075, fill=red)
    reach = radius * 0.68
    pen.line([(x - reach, y - reach), (x + reach, y + reach)], width=0.075, fill=red)


def _waves(pen: Pen, fill: Colour) -> None:
    for row in range(3):
        steps = [index / 24 for index in range(25)]
        y = 0.34 + 0.1 * row
        wave = [(0.28 + 0.44 * s, y + 0.025 * math.sin(s * 6 * math.pi)) for s in steps]
        pen.line(wave, width=0.035, fill=fill)


def _cup(pen: Pen, fill: Colour) -> None:
    pen.polygon([(0.34, 0.28), (0.62, 0.28), (0.57, 0.6), (0.39, 0.6)], fill=fill)
    pen.ring(0.63, 0.42, 0.09, width=0.03, fill=fill)


def _walker(pen: Pen, fill: Colour) -> None:
    pen.disc(0.51, 0.22, 0.055, fill=fill)
    pen.line([(0.5, 0.28), (0.48, 0.46)], width=0.07, fill=fill)
    for limb in (
        [(0.48, 0.45), (0.57, 0.54), (0.59, 0.65)],
        [(0.48, 0.45), (0.42, 0.55), (0.36, 0.64)],
        [(0.5, 0.31), (0.6, 0.41)],
        [(0.5, 0.31), (0.4, 0.42)],
    ):
        pen.line(limb, width=0.035, fill=fill)


def _flame(pen: Pen, fill: Colour) -> None:
    edge = [(0.52, 0.16), (0.6, 0.28), (0.63, 0.42), (0.6, 0.52), (0.5, 0.57), (0.4, 0.52)]
    edge += [(0.37, 0.42), (0.41, 0.31), (0.45, 0.37)]
    pen.polygon(edge, fill=fill)
    for lean in (-0.05, 0.05):
        pen.line([(0.34, 0.63 + lean), (0.66, 0.63 - lean)], width=0.035, fill=fill)


SHAPES: dict[str, Shape] = {
    "swimming": partial(_sign, symbol=_waves),
    "drinking": partial(_sign, symbol=_cup),
    "walking": partial(_sign, symbol=_walker),
    "campfire": partial(_sign, symbol=_flame),
}
"""By the name of a kind, what draws it on a clear layer."""
