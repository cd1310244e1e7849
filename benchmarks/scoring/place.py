"""Where the GPU's rows are measured, or rehearsed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.scoring import world
from benchmarks.scoring.rounds import compared
from benchmarks.scoring.towers import packs, response_windows
from nsgauge.eval.scoring.memory import Budget
from nsgauge.eval.scoring.placement import SIZES, Sizes
from nsgauge.models.towers.fixed import FixedTower, compile_options
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.pair import Towers
from nsgauge.models.towers.text import TextTower

PRODUCTS = 20
"""In one round, against which a tower is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where all is measured, and how much of it.

    Attributes:
        device: Of torch.
        dtype: Of the towers.
        sizes: Of the engine's forwards.
        sweep: Tokens in a forward that G7 tries.
        side: Of the square matrices.
        rows: Triples.
        images: Pictures in a forward of G1.
        batch: Texts in a forward of a peer.
        towers: What is measured.
        backend: That compiles.
    """

    device: str
    dtype: torch.dtype
    sizes: Sizes
    sweep: tuple[int, ...]
    side: int
    rows: int
    images: int
    batch: int
    towers: Callable[[], Towers]
    backend: str

    def clock(self) -> float:
        """Seconds, once the device has done all it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def ratios(
        self, a: Callable[[], object], b: Callable[[], object], *, rounds: int = 7
    ) -> list[float]:
        """As `compared`, by this clock."""
        return compared(a, b, rounds=rounds, clock=self.clock)

    def fixed(self, tower: TextTower, *, tokens: int, compiled: bool) -> FixedTower:
        """A tower that reads as the engine has it read."""
        budget = Budget(tokens, short_tokens=min(tokens, self.sizes.short_tokens))
        options = compile_options(backend=self.backend) if compiled else None
        placed = tower.to(self.device, self.dtype)
        longest = tower.shape.context
        return FixedTower(placed, room=budget.room, longest=longest, compiled=options)

    def packs(self, *, tokens: int) -> tuple[list[Packed], int]:
        """Responses, and the tokens they have."""
        windows = response_windows(self.rows // 2)
        batches = [batch.to(torch.device(self.device)) for batch in packs(windows, budget=tokens)]
        return batches, int(windows.bounds[-1])

    def product(self) -> Callable[[], list[Tensor]]:
        """The matrix products of one round."""
        left, right = (
            torch.randn(self.side, self.side, device=self.device, dtype=self.dtype)
            for _ in range(2)
        )
        return lambda: [left @ right for _ in range(PRODUCTS)]


GPU = Place(
    device="cuda",
    dtype=torch.bfloat16,
    sizes=SIZES["cuda"],
    sweep=(8_192, 16_384, 32_768, 65_536, 131_072),
    side=8192,
    rows=8192,
    images=512,
    batch=1024,
    towers=world.clip_towers,
    backend="inductor",
)
REHEARSAL = Place(
    device="cpu",
    dtype=torch.float32,
    sizes=Sizes(tokens=1024, short_tokens=256, images=2),
    sweep=(512, 1024),
    side=64,
    rows=24,
    images=2,
    batch=8,
    towers=world.tiny_towers,
    backend="aot_eager",
)
