"""Text vectors: every distinct window is read once, and short ones are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nsgauge.eval.scoring.memory import SHORT_TOKENS, Budget
from nsgauge.eval.scoring.vector_store import VectorStore
from nsgauge.eval.scoring.watch import Watch
from nsgauge.models.language import exchange_width, read_exchanges
from nsgauge.models.network import Network
from nsgauge.models.prediction import first_of_equals, read_windows, window_shape
from nsgauge.models.row_windows import RowWindows, TextRole
from nsgauge.models.stretches import gathered
from nsgauge.models.towers.packing import Packed, Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Windows that were read.

    Attributes:
        vectors: Of the distinct ones.
        places: Per window of the rows, its place among them; -1 where it wasn't asked for.
        distinct: The same places by key.
    """

    vectors: Float[Tensor, "distinct readers width"]
    places: Int[np.ndarray, " windows"]
    distinct: Mapping[bytes, int]


class TextVectors:
    """What the members of a network are given of each window.

    Args:
        network: In eval mode, on the device to run on.
        budget: Of the forwards of longer windows.
        prompts: Where short prompts' vectors are kept.
        answers: Where all other short windows' are.
        watch: Told how often these helped.
        language: Have the language model read, which knows nothing of members.
    """

    def __init__(
        self,
        network: Network,
        *,
        budget: Budget,
        prompts: VectorStore,
        answers: VectorStore,
        watch: Watch,
        language: bool = False,
    ) -> None:
        self._network = network
        self._language = language
        self._budget = budget
        self._prompts = prompts
        self._answers = answers
        self._watch = watch

    def of(
        self,
        rows: RowWindows,
        *,
        keys: Sequence[bytes],
        chosen: Int[np.ndarray, " chosen"],
        known: Read | None = None,
    ) -> Read:
        """Vectors of the windows of some rows.

        Args:
            rows: Whose windows.
            keys: Of all windows, as `Windows.keys` gives them.
            chosen: Row numbers.
            known: Windows that needn't be read again.
        """
        counts = np.diff(rows.bounds)[chosen]
        wanted = gathered(np.arange(len(keys)), starts=rows.bounds[:-1][chosen], lengths=counts)
        first, found = first_of_equals([keys[index] for index in wanted.tolist()])
        firsts = wanted[first]
        places = np.full(len(keys), -1)
        places[wanted] = found
        new = _New(
            vectors=torch.empty(len(firsts), *self._shape()),
            windows=rows.windows,
            first=firsts,
            keys=[keys[index] for index in firsts.tolist()],
            prompt=rows.roles[firsts] == TextRole.PROMPT,
        )
        missing = self._recall(new, known=known)
        self._watch.reused("texts", hits=len(wanted) - len(missing), asked=len(wanted))
        lengths = new.lengths[missing]
        short = missing[lengths <= SHORT_TOKENS]
        for length in np.unique(new.lengths[short]):
            self._read_alike(new, places=short[new.lengths[short] == length])
        self._keep(new, places=short)
        self._read_mixed(new, places=missing[lengths > SHORT_TOKENS])
        distinct = {key: place for place, key in enumerate(new.keys)}
        return Read(vectors=new.vectors, places=places, distinct=distinct)

    def flush(self) -> None:
        """Bring what is new to where it outlives the run."""
        self._prompts.flush()

    def _shape(self) -> tuple[int, int]:
        """Of a window's vectors."""
        tower = self._network.language_tower
        if self._language and tower is not None:
            return 1, exchange_width(tower)
        return window_shape(self._network)

    def _vectors_of(self, packed: Packed) -> Float[Tensor, "sequences readers width"]:
        tower = self._network.language_tower
        if not self._language or tower is None:
            return read_windows(self._network, packed=packed)
        device = next(tower.parameters()).device
        with torch.inference_mode():
            return read_exchanges(tower, packed=packed.to(device)).cpu().unsqueeze(1)

    def _recall(self, new: "_New", *, known: Read | None) -> Int[np.ndarray, " missing"]:
        """Fill in what was read before; the places of what wasn't."""
        missing = []
        before: Mapping[bytes, int] = {} if known is None else known.distinct
        for place, (key, length) in enumerate(zip(new.keys, new.lengths.tolist(), strict=True)):
            if known is not None and key in before:
                new.vectors[place] = known.vectors[before[key]]
                continue
            found = None
            if length <= SHORT_TOKENS:
                found = self._store(new, place=place).find(_digest(key))
            if found is None:
                missing.append(place)
            else:
                new.vectors[place] = torch.from_numpy(found)
        return np.array(missing, dtype=np.int64)

    def _keep(self, new: "_New", *, places: Int[np.ndarray, " short"]) -> None:
        for place in places.tolist():
            vector = new.vectors[place].numpy().copy()
            self._store(new, place=place).keep(_digest(new.keys[place]), vector=vector)

    def _store(self, new: "_New", *, place: int) -> VectorStore:
        return self._prompts if new.prompt[place] else self._answers

    def _read_alike(self, new: "_New", *, places: Int[np.ndarray, " alike"]) -> None:
        """Read windows of one length, in batches of one shape."""
        length = int(new.lengths[places[0]])
        count = self._budget.alike(length)

        def forward(numbers: list[int]) -> None:
            for number in numbers:
                batch = places[number * count : (number + 1) * count]
                filled = np.resize(new.first[batch], count)
                read = self._vectors_of(new.windows.pack(filled))
                new.vectors[batch] = read[: len(batch)]

        self._budget.run([count * length] * -(-len(places) // count), forward=forward)

    def _read_mixed(self, new: "_New", *, places: Int[np.ndarray, " longer"]) -> None:
        """Read windows of any lengths, in as few forwards as the budget allows."""

        def forward(numbers: list[int]) -> None:
            batch = places[numbers]
            packed = new.windows.pack(new.first[batch])
            new.vectors[batch] = self._vectors_of(packed)

        self._budget.run(new.lengths[places].tolist(), forward=forward)


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """Distinct windows whose vectors are being filled in.

    Attributes:
        vectors: Of each.
        windows: Where their tokens are.
        first: Which of `windows` each is.
        keys: Of each.
        prompt: Which of them are prompts.
    """

    vectors: Float[Tensor, "distinct readers width"]
    windows: Windows
    first: Int[np.ndarray, " distinct"]
    keys: Sequence[bytes]
    prompt: Bool[np.ndarray, " distinct"]

    @property
    def lengths(self) -> Int[np.ndarray, " distinct"]:
        """Tokens of each."""
        return self.windows.lengths[self.first]


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()
