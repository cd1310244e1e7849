"""Batches of a corpus: what the network reads in one step, and what it should say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nsgauge.models.inputs import NetworkInputs, assemble
from nsgauge.train.corpus import Corpus
from nsgauge.train.features import CorpusVectors


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Inputs and targets of one step.

    Attributes:
        inputs: What the network reads.
        masses: The rows' targets.
        shares: Their classes, where the teacher named them.
        teaches: 1 where a row teaches a member of the committee, else 0.
    """

    inputs: NetworkInputs
    masses: Float[Tensor, "rows observations"]
    shares: Float[Tensor, "rows classes"]
    teaches: Float[Tensor, "members rows"]

    def to(self, device: torch.device) -> "TrainBatch":
        """The same batch on another device."""
        return TrainBatch(
            self.inputs.to(device),
            self.masses.to(device),
            self.shares.to(device),
            self.teaches.to(device),
        )


class CorpusBatches:
    """Batches of some of a corpus's rows, assembled as they are asked for.

    Args:
        corpus: The rows.
        batches: Row numbers of each batch.
        vectors: What the frozen towers made of the corpus; None has the towers read each batch.
        members: Of the committee.
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        batches: Sequence[Sequence[int]],
        vectors: CorpusVectors | None,
        members: int,
    ) -> None:
        self._corpus = corpus
        self._batches = batches
        self._vectors = vectors
        self._members = members

    def __len__(self) -> int:
        """How many batches."""
        return len(self._batches)

    def __iter__(self) -> Iterator[TrainBatch]:
        """The batches, in order."""
        for rows in self._batches:
            yield self._batch(rows)

    def _batch(self, rows: Sequence[int]) -> TrainBatch:
        corpus, vectors = self._corpus, self._vectors
        digests = [corpus.image_digests[row] for row in rows]
        distinct = list(dict.fromkeys(digest for digest in digests if digest is not None))
        slot = {digest: index for index, digest in enumerate(distinct)}
        pixels = features = None
        if distinct and vectors is None:
            pixels = torch.from_numpy(np.stack([corpus.images[digest] for digest in distinct]))
        elif distinct and vectors is not None and vectors.images is not None:
            features = vectors.images[[vectors.image_index[digest] for digest in distinct]]
        inputs = assemble(
            [corpus.texts[row] for row in rows],
            image_slots=[-1 if digest is None else slot[digest] for digest in digests],
            pixels=pixels,
            image_features=features,
            encoded=None if vectors is None else vectors.windows,
        )
        members = np.arange(self._members)[:, None]
        return TrainBatch(
            inputs,
            masses=torch.from_numpy(corpus.masses[list(rows)]),
            shares=torch.from_numpy(corpus.shares[list(rows)]),
            teaches=torch.from_numpy((members != corpus.parts[list(rows)]).astype(np.float32)),
        )
