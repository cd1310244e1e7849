"""Places: dark cracks mark the harmful look-alike."""

import math

from nsgauge.data.sample.kinds import Variant
from nsgauge.data.sample.pen import DARK, Colour, Pen, Point
from nsgauge.data.sample.shapes.outline import Shape

_WOOD: Colour = (176, 126, 76)


def _cracks(pen: Pen, starts: list[Point], *, reach: float) -> None:
    """Jagged dark lines in three directions from each place, within what is drawn already."""
    with pen.inside():
        for start in starts:
            pen.disc(*start, 0.035, fill=DARK)
            turn = pen.rng.uniform(0, 2 * math.pi)
            for branch in range(3):
                heading = turn + branch * 2 * math.pi / 3 + pen.rng.uniform(-0.4, 0.4)
                pen.line(_jagged(pen, start, heading=heading, reach=reach), width=0.03, fill=DARK)


def _jagged(pen: Pen, start: Point, *, heading: float, reach: float) -> list[Point]:
    """A path of four steps that swings to both sides of its heading."""
    path = [start]
    for step in range(4):
        swing = heading + (0.6 if step % 2 else -0.6)
        length = reach / 4 * pen.rng.uniform(0.8, 1.2)
        x, y = path[-1]
        path.append((x + length * math.cos(swing), y + length * math.sin(swing)))
    return path


def _lake(pen: Pen, variant: Variant) -> None:
    pen.oval(0.5, 0.55, (0.48, 0.38), fill=pen.near((112, 142, 160)))
    pen.oval(0.5, 0.55, (0.44, 0.34), fill=pen.near((206, 228, 240)))
    if variant is Variant.HARMFUL:
        _cracks(pen, [(0.32, 0.5), (0.66, 0.45), (0.5, 0.7)], reach=0.22)


def _bridge(pen: Pen, variant: Variant) -> None:
    wood = pen.near(_WOOD)
    for number in range(7):
        top = 0.1 + 0.118 * number
        inset = 0.14 - 0.016 * number
        pen.box(inset, top, 1.0 - inset, top + 0.1, fill=wood)
    for x in (0.1, 0.86):
        pen.box(x, 0.04, x + 0.04, 0.96, fill=pen.near((116, 78, 46)))
    if variant is Variant.HARMFUL:
        _cracks(pen, [(0.35, 0.3), (0.62, 0.52), (0.38, 0.75)], reach=0.24)


def _socket(pen: Pen, variant: Variant) -> None:
    pen.box(0.08, 0.08, 0.92, 0.92, fill=pen.near((176, 176, 172)))
    pen.box(0.11, 0.11, 0.89, 0.89, fill=pen.near((236, 234, 226)))
    pen.disc(0.5, 0.5, 0.24, fill=pen.near((206, 204, 198)))
    for x in (0.41, 0.59):
        pen.disc(x, 0.5, 0.035, fill=(60, 58, 58))
    if variant is Variant.HARMFUL:
        _cracks(pen, [(0.26, 0.3), (0.7, 0.32), (0.55, 0.74)], reach=0.26)


_LADDER_CRACKS: list[Point] = [
    *((0.4, 0.17), (0.62, 0.35), (0.38, 0.52), (0.6, 0.69), (0.42, 0.86)),
    *((0.21, 0.34), (0.79, 0.6)),
]


def _ladder(pen: Pen, variant: Variant) -> None:
    wood = pen.near(_WOOD)
    for number in range(5):
        top = 0.12 + 0.17 * number
        pen.box(0.2, top, 0.8, top + 0.1, fill=wood)
    for x in (0.14, 0.74):
        pen.box(x, 0.03, x + 0.12, 0.97, fill=pen.near(_WOOD))
    if variant is Variant.HARMFUL:
        _cracks(pen, _LADDER_CRACKS, reach=0.24)


SHAPES: dict[str, Shape] = {
    "lake": _lake,
    "bridge": _bridge,
    "socket": _socket,
    "ladder": _ladder,
}
"""By the name of a kind, what draws it on a clear layer."""
