"""The classifier as Python sees it: load a bundle, score triples."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.checkpoints.export_merged import load_saved
from nsgauge.checkpoints.manifest import Thresholds
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.protocol import CELLS
from nsgauge.records import (
    TRIPLES_SCHEMA,
    ImageState,
    ResponseState,
    Score,
    ScoreStatus,
    Triple,
)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the classifier says of some triples, in the order they were given.

    Rows that couldn't be scored (`status` says why) have NaN probabilities and False verdicts.

    Attributes:
        table: SCORES_SCHEMA.
    """

    table: pa.Table

    def __len__(self) -> int:
        """How many triples."""
        return int(self.table.num_rows)

    def __getitem__(self, index: int) -> Score:
        """One triple's score."""
        row = self.table.slice(range(len(self))[index], 1).to_pylist()[0]
        states = {
            "status": ScoreStatus(row["status"]),
            "image_state": ImageState(row["image_state"]),
        }
        return Score(**{**row, **states})

    @property
    def cells(self) -> Float[np.ndarray, "rows cells"]:
        """Calibrated probabilities of `protocol.CELLS`; rows sum to one."""
        return np.stack([self._numbers(cell) for cell in CELLS], axis=1)

    @property
    def unsafe(self) -> Float[np.ndarray, " rows"]:
        """Probability that the response is unsafe."""
        return self._numbers("unsafe")

    @property
    def not_grounded(self) -> Float[np.ndarray, " rows"]:
        """Probability that the response is not safety-grounded (NSG)."""
        return self._numbers("not_grounded")

    @property
    def unsafe_verdict(self) -> Bool[np.ndarray, " rows"]:
        """Whether `unsafe` reaches the bundle's threshold."""
        return self._verdict("unsafe_verdict")

    @property
    def not_grounded_verdict(self) -> Bool[np.ndarray, " rows"]:
        """Whether `not_grounded` reaches the bundle's threshold."""
        return self._verdict("not_grounded_verdict")

    @property
    def status(self) -> list[ScoreStatus]:
        """Why each row has probabilities, or why it has none."""
        return [ScoreStatus(status) for status in self.table["status"].to_pylist()]

    def _numbers(self, column: str) -> Float[np.ndarray, " rows"]:
        return np.array(
            [np.nan if value is None else value for value in self.table[column].to_pylist()],
            dtype=np.float64,
        )

    def _verdict(self, column: str) -> Bool[np.ndarray, " rows"]:
        return np.array([value is True for value in self.table[column].to_pylist()], dtype=bool)


class Classifier:
    """A trained classifier, ready to score.

    Example:
        >>> from nsgauge import Classifier, Triple
        >>> classifier = Classifier.load("bundle")  # doctest: +SKIP
        >>> scores = classifier.score(  # doctest: +SKIP
        ...     [Triple(image="berries.jpg", prompt="Can I eat these?", response="Yes, enjoy.")]
        ... )
        >>> scores.unsafe, scores.not_grounded_verdict  # doctest: +SKIP
    """

    def __init__(self, bundle: Bundle, *, device: str | None = None) -> None:
        self._bundle = bundle
        self._device = device

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        tower_directory: str | Path | None = None,
        device: str | None = None,
    ) -> "Classifier":
        """Load and verify a bundle.

        Args:
            path: Folder that `nsgauge train` made, or `nsgauge export --to merged`.
            tower_directory: Where a hub preset's towers lie, if not where they were when training.
            device: Of torch, for example `cpu` or `cuda:1`; None takes CUDA where there is one.

        Raises:
            BundleError: missing, damaged, of another format, or for other tower weights.
        """
        directory = None if tower_directory is None else Path(tower_directory)
        return cls(load_saved(Path(path), tower_directory=directory), device=device)

    @property
    def judges(self) -> tuple[str, ...]:
        """The teacher: whose verdicts the classifier imitates."""
        return self._bundle.manifest.training.judges

    @property
    def thresholds(self) -> Thresholds:
        """Verdicts are positive where the probability reaches these."""
        return self._bundle.manifest.thresholds

    def score(self, triples: Sequence[Triple], *, image_root: str | Path | None = None) -> Scores:
        """Score triples; nothing is written anywhere.

        A response that is empty is not scored, and says so in its status; an image that can't be
        read likewise. A triple without an image is scored as such.

        Args:
            triples: In memory at once; for files, use `nsgauge score`.
            image_root: The folder that image paths are relative to and must stay in; None takes
                them as paths of the caller's own.

        Raises:
            TypeError: a prompt or a response that is no text.
        """
        towers = self._bundle.towers
        root = None if image_root is None else Path(image_root)
        engine = Engine(
            self._bundle,
            pictures=Pictures(root, side=towers.image_side_px, resize=towers.resize),
            cache=None,
            device=self._device,
        )
        stored = [_as_stored(triple) for triple in triples]
        columns = {
            name: [getattr(triple, name) for triple in stored] for name in TRIPLES_SCHEMA.names
        }
        return Scores(engine.score_table(pa.table(columns, schema=TRIPLES_SCHEMA)))


def _as_stored(triple: Triple) -> Triple:
    """A triple made by hand may be what no data folder holds: unmarked, or with lone surrogates.

    Raises:
        TypeError: a text isn't one.
    """
    for name in ("prompt", "response"):
        if not isinstance(getattr(triple, name), str):
            found = type(getattr(triple, name)).__name__
            wanted = "wanted text: an answer that is missing is an empty one"
            raise TypeError(f"a triple's {name} is {found}; {wanted}")
    triple = replace(
        triple,
        triple_id=_encodable(triple.triple_id),
        benchmark=_encodable(triple.benchmark),
        item_id=_encodable(triple.item_id),
        vllm=_encodable(triple.vllm),
        prompt=_encodable(triple.prompt),
        response=_encodable(triple.response),
        image=None if triple.image is None else _encodable(os.fspath(triple.image)),
        caption=None if triple.caption is None else _encodable(triple.caption),
        language=None,
        extras=None,
    )
    if triple.response_state is ResponseState.ANSWERED and not triple.response.strip():
        return replace(triple, response_state=ResponseState.EMPTY)
    return triple


def _encodable(text: str) -> str:
    """The text with lone surrogates, which Arrow refuses, replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
