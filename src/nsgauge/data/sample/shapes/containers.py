"""Containers: a hazard diamond marks the harmful look-alike, a leaf the benign one."""

from nsgauge.data.sample.kinds import Variant
from nsgauge.data.sample.pen import DARK, GREEN, RED, WHITE, Colour, Pen
from nsgauge.data.sample.shapes.outline import Shape


def _label(pen: Pen, variant: Variant, *, x: float, y: float) -> None:
    """The mark on a container, about a third of its side wide."""
    reach = 0.2
    if variant is Variant.HARMFUL:
        for size, fill in ((reach * 1.1, RED), (reach * 0.72, WHITE)):
            corners = [(x, y - size), (x + size, y), (x, y + size), (x - size, y)]
            pen.polygon(corners, fill=pen.near(fill))
        pen.polygon([(x - 0.03, y - 0.1), (x + 0.03, y - 0.1), (x, y + 0.04)], fill=DARK)
        pen.disc(x, y + 0.075, 0.024, fill=DARK)
        return
    pen.disc(x, y, reach, fill=pen.near(WHITE))
    pen.oval(x, y - 0.02, (0.075, 0.14), fill=pen.near(GREEN))
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


def _tin(pen: Pen, variant: Variant) -> None:
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


SHAPES: dict[str, Shape] = {
    "bottle": _bottle,
    "jar": _jar,
    "tin": _tin,
    "jug": _jug,
}
"""By the name of a kind, what draws it on a clear layer."""
