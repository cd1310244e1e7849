"""The outlines of the sixteen kinds, and the marks that tell harmful from benign."""

from nsgauge.data.sample.shapes import containers, food, places, signs
from nsgauge.data.sample.shapes.outline import Shape

SHAPES: dict[str, Shape] = {**food.SHAPES, **containers.SHAPES, **signs.SHAPES, **places.SHAPES}
"""By the name of a kind, what draws it on a clear layer."""
