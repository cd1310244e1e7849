"""What a shape is: a function that draws one variant of a kind on a clear layer."""

from collections.abc import Callable

from nsgauge.data.sample.kinds import Variant
from nsgauge.data.sample.pen import Pen

Shape = Callable[[Pen, Variant], None]
