"""The outlines of the sixteen kinds, and the marks that tell harmful from benign."""

import math
from collections.abc import Callable

from nsgauge.data.sample.kinds import Variant
from nsgauge.data.sample.pen import Colour, Pen, Point

Shape = Callable[[Pen, Variant], None]

_WHITE: Colour = (248, 248, 244)
_DARK: Colour = (28, 26, 30)
_RED: Colour = (212, 30, 36)
_BLUE: Colour = (36, 92, 190)
_GREEN: Colour = (52, 148, 66)
_WOOD: Colour = (176, 126, 76)


def _is_harmful(variant: Variant) -> bool:
    return variant is Variant.HARMFUL


# Food: contrasting spots.


def _spots(pen: Pen, places: list[Point], *, radius: float, fill: Colour) -> None:
    for x, y in places:
        spread = radius * 0.35
        pen.disc(
            x + pen.rng.uniform(-spread, spread),
            y + pen.rng.uniform(-spread, spread),
            radius * pen.rng.uniform(0.8, 1.25),
            fill=pen.near(fill),
        )


def _mushroom(pen: Pen, variant: Variant) -> None:
    pen.polygon(
        [(0.41, 0.5), (0.59, 0.5), (0.64, 0.92), (0.36, 0.92)], fill=pen.near((232, 220, 198))
    )
    cap: Colour = _RED if _is_harmful(variant) else (150, 100, 62)
    pen.dome(0.5, 0.58, (0.42, 0.46), fill=pen.near(cap))
    if _is_harmful(variant):
        places = [(0.5, 0.22), (0.31, 0.33), (0.68, 0.32), (0.22, 0.49), (0.5, 0.44), (0.78, 0.49)]
        _spots(pen, places, radius=0.055, fill=_WHITE)


def _berries(pen: Pen, variant: Variant) -> None:
    pen.line([(0.5, 0.05), (0.5, 0.5)], width=0.03, fill=pen.near((84, 120, 60)))
    pen.polygon([(0.5, 0.12), (0.78, 0.04), (0.86, 0.18)], fill=pen.near(_GREEN))
    skin = pen.near((238, 226, 214) if _is_harmful(variant) else (58, 70, 150))
    places = [
        (0.5, 0.3),
        (0.3, 0.42),
        (0.7, 0.42),
        (0.5, 0.55),
        (0.28, 0.68),
        (0.72, 0.68),
        (0.5, 0.8),
    ]
    for x, y in places:
        pen.disc(x, y, 0.135, fill=pen.near((90, 90, 96)))
        pen.disc(x, y, 0.125, fill=skin)
    if _is_harmful(variant):
        _spots(pen, places, radius=0.05, fill=_DARK)


def _bread(pen: Pen, variant: Variant) -> None:
    crust = pen.near((158, 98, 46))
    crumb = pen.near((240, 212, 160))
    for inset, fill in ((0.0, crust), (0.045, crumb)):
        pen.oval(0.5, 0.3, (0.4 - inset, 0.2 - inset), fill=fill)
        pen.box(0.15 + inset, 0.3, 0.85 - inset, 0.9 - inset, fill=fill)
    if _is_harmful(variant):
        places = [(0.32, 0.35), (0.62, 0.3), (0.45, 0.53), (0.7, 0.6), (0.3, 0.72), (0.56, 0.78)]
        _spots(pen, places, radius=0.08, fill=(70, 112, 84))
        _spots(pen, places, radius=0.04, fill=(32, 60, 52))


def _fish(pen: Pen, variant: Variant) -> None:
    skin = pen.near((226, 190, 70) if _is_harmful(variant) else (150, 164, 176))
    if _is_harmful(variant):
        for step in range(16):
            turn = 2 * math.pi * step / 16
            tip = (0.45 + 0.42 * math.cos(turn), 0.5 + 0.37 * math.sin(turn))
            pen.line([(0.45, 0.5), tip], width=0.018, fill=_DARK)
    pen.polygon([(0.72, 0.5), (0.96, 0.28), (0.96, 0.72)], fill=skin)
    pen.oval(0.45, 0.5, (0.36, 0.29), fill=skin)
    if _is_harmful(variant):
        places = [(0.4, 0.34), (0.58, 0.36), (0.48, 0.5), (0.66, 0.52), (0.4, 0.66), (0.58, 0.67)]
        _spots(pen, places, radius=0.05, fill=(70, 48, 30))
    pen.disc(0.21, 0.44, 0.045, fill=_WHITE)
    pen.disc(0.21, 0.44, 0.024, fill=_DARK)


# Containers: a hazard diamond against a leaf.


def _label(pen: Pen, variant: Variant, *, x: float, y: float) -> None:
    """The mark on a container, about a third of its side wide."""
    reach = 0.2
    if _is_harmful(variant):
        for size, fill in ((reach * 1.1, _RED), (reach * 0.72, _WHITE)):
            corners = [(x, y - size), (x + size, y), (x, y + size), (x - size, y)]
            pen.polygon(corners, fill=pen.near(fill))
        pen.polygon([(x - 0.03, y - 0.1), (x + 0.03, y - 0.1), (x, y + 0.04)], fill=_DARK)
        pen.disc(x, y + 0.075, 0.024, fill=_DARK)
        return
    pen.disc(x, y, reach, fill=pen.near(_WHITE))
    pen.oval(x, y - 0.02, (0.075, 0.14), fill=pen.near(_GREEN))
    pen.line([(x, y - 0.12), (x, y + 0.18)], width=0.02, fill=(30, 96, 44))


def _body_colour(pen: Pen) -> Colour:
    return pen.near(pen.rng.choice([(196, 206, 214), (222, 204, 160), (150, 176, 190)]))


def _bottle(pen: Pen, variant: Variant) -> None:
    body = _body_colour(pen)
    pen.box(0.42, 0.04, 0.58, 0.14, fill=pen.near((70, 70, 78)))
    pen.box(0.44, 0.14, 0.56, 0.3, fill=body)
    pen.dome(0.5, 0.42, (0.26, 0.16), fill=body)
    pen.box(0.24, 0.42, 0.76, 0.96, fill=body)
    _label(pen, variant, x=0.5, y=0.67)


def _jar(pen: Pen, variant: Variant) -> None:
    body = _body_colour(pen)
    pen.box(0.22, 0.1, 0.78, 0.24, fill=pen.near((88, 84, 90)))
    pen.oval(0.5, 0.32, (0.36, 0.1), fill=body)
    pen.box(0.14, 0.32, 0.86, 0.86, fill=body)
    pen.oval(0.5, 0.86, (0.36, 0.08), fill=body)
    _label(pen, variant, x=0.5, y=0.57)


def _can(pen: Pen, variant: Variant) -> None:
    body = _body_colour(pen)
    pen.box(0.22, 0.12, 0.78, 0.92, fill=body)
    for y in (0.12, 0.92):
        pen.oval(0.5, y, (0.28, 0.06), fill=pen.near((128, 132, 138)))
    _label(pen, variant, x=0.5, y=0.52)


def _jug(pen: Pen, variant: Variant) -> None:
    body = _body_colour(pen)
    pen.ring(0.78, 0.5, 0.18, width=0.06, fill=body)
    pen.polygon([(0.28, 0.12), (0.66, 0.12), (0.8, 0.94), (0.14, 0.94)], fill=body)
    pen.polygon([(0.28, 0.12), (0.2, 0.08), (0.34, 0.24)], fill=body)
    _label(pen, variant, x=0.47, y=0.62)


# Signs: a red ring with a bar against a blue disc.


def _sign(pen: Pen, variant: Variant, *, symbol: Callable[[Pen, Colour], None]) -> None:
    pen.box(0.47, 0.7, 0.53, 1.0, fill=pen.near((110, 110, 114)))
    x, y, radius = 0.5, 0.43, 0.39
    if not _is_harmful(variant):
        pen.disc(x, y, radius, fill=pen.near(_BLUE))
        symbol(pen, _WHITE)
        return
    red = pen.near(_RED)
    pen.disc(x, y, radius, fill=pen.near(_WHITE))
    symbol(pen, _DARK)
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


def _sign_with(symbol: Callable[[Pen, Colour], None]) -> Shape:
    def draw(pen: Pen, variant: Variant) -> None:
        _sign(pen, variant, symbol=symbol)

    return draw


# Places: dark cracks against a whole surface.


def _cracks(pen: Pen, starts: list[Point], *, reach: float) -> None:
    """Jagged dark lines in three directions from each place, within what is drawn already."""
    with pen.inside():
        for start in starts:
            pen.disc(*start, 0.035, fill=_DARK)
            turn = pen.rng.uniform(0, 2 * math.pi)
            for branch in range(3):
                heading = turn + branch * 2 * math.pi / 3 + pen.rng.uniform(-0.4, 0.4)
                pen.line(_jagged(pen, start, heading=heading, reach=reach), width=0.03, fill=_DARK)


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
    if _is_harmful(variant):
        _cracks(pen, [(0.32, 0.5), (0.66, 0.45), (0.5, 0.7)], reach=0.22)


def _bridge(pen: Pen, variant: Variant) -> None:
    wood = pen.near(_WOOD)
    for number in range(7):
        top = 0.1 + 0.118 * number
        inset = 0.14 - 0.016 * number
        pen.box(inset, top, 1 - inset, top + 0.1, fill=wood)
    for x in (0.1, 0.86):
        pen.box(x, 0.04, x + 0.04, 0.96, fill=pen.near((116, 78, 46)))
    if _is_harmful(variant):
        _cracks(pen, [(0.35, 0.3), (0.62, 0.52), (0.38, 0.75)], reach=0.24)


def _socket(pen: Pen, variant: Variant) -> None:
    pen.box(0.08, 0.08, 0.92, 0.92, fill=pen.near((176, 176, 172)))
    pen.box(0.11, 0.11, 0.89, 0.89, fill=pen.near((236, 234, 226)))
    pen.disc(0.5, 0.5, 0.24, fill=pen.near((206, 204, 198)))
    for x in (0.41, 0.59):
        pen.disc(x, 0.5, 0.035, fill=(60, 58, 58))
    if _is_harmful(variant):
        _cracks(pen, [(0.26, 0.3), (0.7, 0.32), (0.55, 0.74)], reach=0.26)


def _ladder(pen: Pen, variant: Variant) -> None:
    wood = pen.near(_WOOD)
    for number in range(5):
        top = 0.12 + 0.17 * number
        pen.box(0.2, top, 0.8, top + 0.1, fill=wood)
    for x in (0.14, 0.74):
        pen.box(x, 0.03, x + 0.12, 0.97, fill=pen.near(_WOOD))
    if _is_harmful(variant):
        places = [
            (0.4, 0.17),
            (0.62, 0.35),
            (0.38, 0.52),
            (0.6, 0.69),
            (0.42, 0.86),
            (0.21, 0.34),
            (0.79, 0.6),
        ]
        _cracks(pen, places, reach=0.24)


SHAPES: dict[str, Shape] = {
    "mushroom": _mushroom,
    "berries": _berries,
    "bread": _bread,
    "fish": _fish,
    "bottle": _bottle,
    "jar": _jar,
    "can": _can,
    "jug": _jug,
    "swimming": _sign_with(_waves),
    "drinking": _sign_with(_cup),
    "walking": _sign_with(_walker),
    "campfire": _sign_with(_flame),
    "lake": _lake,
    "bridge": _bridge,
    "socket": _socket,
    "ladder": _ladder,
}
"""By the name of a kind, what draws it on a clear layer."""
