"""A text tower whose forwards have one of a few shapes: each is compiled once, or not at all."""

from collections.abc import Callable, Mapping
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

    On a GPU the products of forwards with one shape are made by one kernel, which treats rows
    alike; and a compiled forward, or a recorded graph, is made for a shape.

    Args:
        tower: In eval mode; without a bias of distances, for which offsets aren't enough.
        room: For windows, the shape of their forward.
        compiled: How to compile the forward; None leaves it as it is.

    Raises:
        ValueError: the tower has a bias of distances.
    """

    def __init__(
        self, tower: TextTower, *, room: Callable[[Packed], Room], compiled: CompileOptions | None
    ) -> None:
        nn.Module.__init__(self)
        if not takes_offsets(tower):
            raise ValueError("a tower with a bias of distances can't read by offsets")
        self.shape = tower.shape
        self.tower = tower
        self.projection = tower.projection
        self.room = room
        self.compiled = compiled
        self._whole: Callable[..., Tensor] = self._between
        if compiled is not None:
            # Counted by code, which all towers share, and meant for shapes without end.
            torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
            self._whole = torch.compile(self._between, **compiled)

    def read_packed(self, packed: Packed) -> Float[Tensor, "tokens width"]:
        """As `TextTower.read_packed`; windows that the room doesn't hold get a larger one."""
        room = self.room(packed)
        tokens, sequences = len(packed.ids), len(packed.lengths)
        ids, positions, segments = (
            _filled(column, to=max(room.tokens, tokens))
            for column in (packed.ids, packed.positions, packed.segments)
        )
        ends = torch.tensor(packed.lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32)
        bounds = torch.full((max(room.sequences, sequences) + 1,), tokens, dtype=torch.int32)
        bounds[0] = 0
        bounds[1 : sequences + 1] = ends
        read = self._whole(ids, positions, segments, bounds.to(ids.device))
        # A graph writes what it reads next over this.
        return read[:tokens].clone()

    def _between(
        self,
        ids: Int[Tensor, " room"],
        positions: Int[Tensor, " room"],
        segments: Int[Tensor, " room"],
        bounds: Int[Tensor, " bounds"],
    ) -> Float[Tensor, "room width"]:
        layout = Offsets(bounds, self.shape.context)
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


def _filled(column: Int[Tensor, " tokens"], *, to: int) -> Int[Tensor, " room"]:
    return nn.functional.pad(column, (0, to - len(column)))
