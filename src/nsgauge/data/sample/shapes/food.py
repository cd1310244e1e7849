"""Food: contrasting spots mark the harmful look-alike."""

import math

from nsgauge.data.sample.kinds import Variant
from nsgauge.data.sample.pen import DARK, GREEN, RED, WHITE, Colour, Pen, Point
from nsgauge.data.sample.shapes.outline import Shape


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
    cap: Colour = RED if variant is Variant.HARMFUL else (150, 100, 62)
    pen.dome(0.5, 0.58, (0.42, 0.46), fill=pen.near(cap))
    if variant is Variant.HARMFUL:
        places = [(0.5, 0.22), (0.31, 0.33), (0.68, 0.32), (0.22, 0.49), (0.5, 0.44), (0.78, 0.49)]
        _spots(pen, places, radius=0.055, fill=WHITE)


def _berries(pen: Pen, variant: Variant) -> None:
    pen.line([(0.5, 0.05), (0.5, 0.5)], width=0.03, fill=pen.near((84, 120, 60)))
    pen.polygon([(0.5, 0.12), (0.78, 0.04), (0.86, 0.18)], fill=pen.near(GREEN))
    skin = pen.near((238, 226, 214) if variant is Variant.HARMFUL else (58, 70, 150))
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
    if variant is Variant.HARMFUL:
        _spots(pen, places, radius=0.05, fill=DARK)


def _bread(pen: Pen, variant: Variant) -> None:
    crust = pen.near((158, 98, 46))
    crumb = pen.near((240, 212, 160))
    for inset, fill in ((0.0, crust), (0.045, crumb)):
        pen.oval(0.5, 0.3, (0.4 - inset, 0.2 - inset), fill=fill)
        pen.box(0.15 + inset, 0.3, 0.85 - inset, 0.9 - inset, fill=fill)
    if variant is Variant.HARMFUL:
        places = [(0.32, 0.35), (0.62, 0.3), (0.45, 0.53), (0.7, 0.6), (0.3, 0.72), (0.56, 0.78)]
        _spots(pen, places, radius=0.08, fill=(70, 112, 84))
        _spots(pen, places, radius=0.04, fill=(32, 60, 52))


def _fish(pen: Pen, variant: Variant) -> None:
    skin = pen.near((226, 190, 70) if variant is Variant.HARMFUL else (150, 164, 176))
    if variant is Variant.HARMFUL:
        for step in range(16):
            turn = 2 * math.pi * step / 16
            tip = (0.45 + 0.42 * math.cos(turn), 0.5 + 0.37 * math.sin(turn))
            pen.line([(0.45, 0.5), tip], width=0.018, fill=DARK)
    pen.polygon([(0.72, 0.5), (0.96, 0.28), (0.96, 0.72)], fill=skin)
    pen.oval(0.45, 0.5, (0.36, 0.29), fill=skin)
    if variant is Variant.HARMFUL:
        places = [(0.4, 0.34), (0.58, 0.36), (0.48, 0.5), (0.66, 0.52), (0.4, 0.66), (0.58, 0.67)]
        _spots(pen, places, radius=0.05, fill=(70, 48, 30))
    pen.disc(0.21, 0.44, 0.045, fill=WHITE)
    pen.disc(0.21, 0.44, 0.024, fill=DARK)


SHAPES: dict[str, Shape] = {
    "mushroom": _mushroom,
    "berries": _berries,
    "bread": _bread,
    "fish": _fish,
}
"""By the name of a kind, what draws it on a clear layer."""
