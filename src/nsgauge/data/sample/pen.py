"""A pen that draws on a picture in unit coordinates, with colours that vary a little."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Colour = (248, 248, 244)
DARK: Colour = (28, 26, 30)
RED: Colour = (212, 30, 36)
BLUE: Colour = (36, 92, 190)
GREEN: Colour = (52, 148, 66)

_COLOUR_JITTER = 16


class Pen:
    """Draws on `picture`; lengths are shares of its side, (0, 0) is the top left corner.

    Args:
        picture: A square picture, drawn on in place.
        rng: Where colours and irregular marks come from.
    """

    def __init__(self, picture: Image.Image, *, rng: Random) -> None:
        self._picture = picture
        self._draw = ImageDraw.Draw(picture)
        self._side = picture.width
        self.rng = rng

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Within the block, only what is already drawn is drawn over (on a clear layer)."""
        outline = self._picture.getchannel("A")
        yield
        self._picture.putalpha(outline)

    def near(self, colour: Colour) -> Colour:
        """A colour close to `colour`."""
        red, green, blue = (
            min(255, max(0, part + self.rng.randint(-_COLOUR_JITTER, _COLOUR_JITTER)))
            for part in colour
        )
        return red, green, blue

    def box(self, left: float, top: float, right: float, bottom: float, *, fill: Colour) -> None:
        """A rectangle."""
        self._draw.rectangle(self._flat([(left, top), (right, bottom)]), fill=fill)

    def disc(self, x: float, y: float, radius: float, *, fill: Colour) -> None:
        """A circle."""
        self.oval(x, y, (radius, radius), fill=fill)

    def oval(self, x: float, y: float, radii: Point, *, fill: Colour) -> None:
        """An ellipse with its axes along the sides."""
        across, down = radii
        corners = [(x - across, y - down), (x + across, y + down)]
        self._draw.ellipse(self._flat(corners), fill=fill)

    def ring(self, x: float, y: float, radius: float, *, width: float, fill: Colour) -> None:
        """A circle's outline, `width` wide inwards."""
        corners = self._flat([(x - radius, y - radius), (x + radius, y + radius)])
        self._draw.ellipse(corners, outline=fill, width=round(width * self._side))

    def dome(self, x: float, y: float, radii: Point, *, fill: Colour) -> None:
        """The upper half of an ellipse whose centre is (x, y)."""
        across, down = radii
        corners = self._flat([(x - across, y - down), (x + across, y + down)])
        self._draw.pieslice(corners, 180, 360, fill=fill)

    def polygon(self, points: Sequence[Point], *, fill: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(self._flat(points), fill=fill)

    def line(self, points: Sequence[Point], *, width: float, fill: Colour) -> None:
        """A line through the points."""
        pixels = max(1, round(width * self._side))
        self._draw.line(self._flat(points), fill=fill, width=pixels, joint="curve")

    def _flat(self, points: Sequence[Point]) -> list[float]:
        return [part * self._side for point in points for part in point]
