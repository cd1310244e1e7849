"""A text tower whose forwards have one of a few shapes: each is compiled once, or not at all."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nsgauge.models.towers.attention import Offsets
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.text import TextTower

CompileOptions = Mapping[str, Any]
"""What torch.compile takes."""
SHAPES = 64
"""Of all towers of a process together, that may be compiled: a tower has two at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much one forward holds; what isn't taken is filled up."""

    tokens: int
    sequences: int


class FixedTower(TextTower):
    """A text tower that fills every forward up to the room that it is given.

    What fills it are sequences of their own, of which nothing is kept.

    On a GPU the products of forwards with one shape are made by one kernel, which treats rows
    alike; and a compiled forward, or a recorded graph, is made for a shape.

    Args:
        tower: In eval mode; without a bias of distances, for which offsets aren't enough.
        room: For windows, the shape of their forward.
        longest: No window has more tokens.
        compiled: How to compile the forward; None leaves it as it is.

    Raises:
        ValueError: the tower has a bias of distances.
    """

    def __init__(
        self,
        tower: TextTower,
        *,
        room: Callable[[Packed], Room],
        longest: int,
        compiled: CompileOptions | None,
    ) -> None:
        nn.Module.__init__(self)
        if not takes_offsets(tower):
            raise ValueError("a tower with a bias of distances can't read by offsets")
        self.shape = tower.shape
        self.tower = tower
        self.projection = tower.projection
        self.room = room
        self.compiled = compiled
        self._longest = longest
        self._whole: Callable[..., Tensor] = self._between
        if compiled is not None:
            self._whole = torch.compile(self._between, **compiled)

    def read_packed(self, packed: Packed) -> Float[Tensor, "tokens width"]:
        """As `TextTower.read_packed`; windows that the room doesn't hold get a larger one.

        Raises:
            ValueError: a window is longer than the longest.
        """
        if packed.lengths[-1] > self._longest:
            raise ValueError(
                f"a window of {packed.lengths[-1]} tokens, where {self._longest} is the most"
            )
        room = self.room(packed)
        tokens = len(packed.ids)
        space = max(room.tokens, tokens)
        ids, positions, segments = (
            nn.functional.pad(column, (0, space - tokens))
            for column in (packed.ids, packed.positions, packed.segments)
        )
        bounds = self._bounds(packed.lengths, room=room, space=space).to(ids.device)
        with _many_shapes() if self.compiled is not None else nullcontext():
            read = self._whole(ids, positions, segments, bounds)
        # A graph writes what it reads next over this.
        return read[:tokens].clone()

    def _bounds(
        self, lengths: tuple[int, ...], *, room: Room, space: int
    ) -> Int[Tensor, " bounds"]:
        """Of the windows, then of what fills the space, then empty ones up to a fixed number."""
        spare = space - sum(lengths)
        full, rest = divmod(spare, self._longest)
        filling = [self._longest] * full + [rest] * (rest > 0)
        # No sequence is longer than the longest, so that many fill the space at most.
        most = max(room.sequences, len(lengths)) + -(-space // self._longest)
        bounds = torch.full((most + 1,), space, dtype=torch.int32)
        laid = torch.tensor([0, *lengths, *filling], dtype=torch.int32)
        bounds[: len(laid)] = laid.cumsum(0, dtype=torch.int32)
        return bounds

    def _between(
        self,
        ids: Int[Tensor, " room"],
        positions: Int[Tensor, " room"],
        segments: Int[Tensor, " room"],
        bounds: Int[Tensor, " bounds"],
    ) -> Float[Tensor, "room width"]:
        layout = Offsets(bounds, self._longest)
        return self.tower.read(ids, positions=positions, segments=segments, layout=layout)


def takes_offsets(tower: TextTower) -> bool:
    """Whether a tower can be a FixedTower."""
    return not tower.shape.transformer.distance_buckets


def compile_options(*, backend: str = "inductor") -> CompileOptions:
    """For every shape one compilation without a break; on CUDA its graphs are recorded, too.

    Args:
        backend: Of torch.compile.
    """
    recorded = backend == "inductor" and torch.cuda.is_available()
    return {
        "dynamic": False,
        "fullgraph": True,
        "backend": backend,
        "mode": "reduce-overhead" if recorded else None,
    }


def _many_shapes() -> AbstractContextManager[None]:
    """Let torch compile more shapes than it does by itself: it counts by code, which towers share.

    A setting of the thread's, so it is made where the compiling is done.
    """
    found: AbstractContextManager[None] = torch._dynamo.config.patch(recompile_limit=SHAPES)
    return found
