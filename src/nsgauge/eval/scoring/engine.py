"""The engine: triples in, a table of scores out, for as many rows as fit in memory at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.split import item_key
from nsgauge.errors import SettingsError
from nsgauge.eval.scoring.images import ImageVectors, in_order
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.models.prediction import RowBatch, cell_logits
from nsgauge.protocol import CELLS, Rate, rate_shares
from nsgauge.records import SCORES_SCHEMA, ImageState, ResponseState, ScoreStatus, Triple

_STATUS_OF = {
    ResponseState.EMPTY: ScoreStatus.EMPTY_RESPONSE,
    ResponseState.NOT_A_RESPONSE: ScoreStatus.NOT_A_RESPONSE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One triple, looked at.

    Attributes:
        triple: As it came.
        status: Whether it can be scored, and why not.
        image_state: What stands in the image slot.
        digest: Of the picture; None where there is none.
        image_code: Of the fault, where the picture has one.
        item_seen: Whether the bundle was made with this item or picture.
    """

    triple: Triple
    status: ScoreStatus
    image_state: ImageState
    digest: str | None
    image_code: str | None
    item_seen: bool

    @property
    def caption(self) -> str | None:
        """The caption, where it stands in for the picture."""
        return self.triple.caption if self.image_state is ImageState.CAPTION else None


class Engine:
    """Scores rows with one bundle on one device.

    Args:
        bundle: A loaded classifier.
        pictures: Where triples' pictures come from.
        cache: Folder of image vectors that outlives the run; None for none.
        device: Of torch; None takes CUDA where there is one.
        tokens_per_batch: Packed tokens in one forward.

    Raises:
        SettingsError: torch has no such device here.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        pictures: Pictures,
        cache: Path | None,
        device: str | None = None,
        tokens_per_batch: int = 8192,
    ) -> None:
        self.bundle = bundle
        self._pictures = pictures
        self._network = bundle.network.to(_device(device))
        self._tokens_per_batch = tokens_per_batch
        self._vllms = frozenset(bundle.manifest.training.vllms)
        self.images = ImageVectors(self._network.image_tower, folder=cache, key=_image_key(bundle))

    def look(self, triples: Sequence[Triple]) -> list[Row]:
        """Find each triple's picture and decide whether it can be scored."""
        return [self._look(triple) for triple in triples]

    def score(self, rows: Sequence[Row]) -> pa.Table:
        """Scores with SCORES_SCHEMA, one row each, in the order given."""
        vectors, slots = self.vectors(rows)
        return self.score_with(rows, vectors=vectors, slots=slots)

    def vectors(
        self, rows: Sequence[Row]
    ) -> tuple[Float[Tensor, "images image_tokens image_width"] | None, list[int]]:
        """Vectors of the distinct pictures of the rows to score, and each row's place in them."""
        wanted = [row.digest if row.status is ScoreStatus.SCORED else None for row in rows]
        digests, slots = in_order(wanted)
        vectors = None
        if digests:
            vectors = self.images.of(digests, decode=self._pictures.decode)
        self._pictures.forget()
        return vectors, slots

    def score_with(
        self,
        rows: Sequence[Row],
        *,
        vectors: Float[Tensor, "images image_tokens image_width"] | None,
        slots: Sequence[int],
    ) -> pa.Table:
        """Scores with these vectors in the image slots: what a control run changes."""
        scored = [index for index, row in enumerate(rows) if row.status is ScoreStatus.SCORED]
        texts = self.bundle.reader.read(
            [row.triple.prompt for row in rows],
            responses=[row.triple.response for row in rows],
            captions=[row.caption for row in rows],
        )
        logits = cell_logits(
            self._network,
            rows=RowBatch(
                texts=[texts[index] for index in scored],
                image_slots=[slots[index] for index in scored],
                image_features=vectors,
            ),
            tokens_per_batch=self._tokens_per_batch,
        )
        cells = np.full((len(rows), len(CELLS)), np.nan)
        cells[scored] = self.bundle.manifest.calibrator.probabilities(logits)
        return self._table(
            rows,
            cells=cells,
            windows=[text.response_windows for text in texts],
            truncated=[text.truncated for text in texts],
        )

    def blank(self) -> Float[Tensor, "1 image_tokens image_width"]:
        """Vectors of a picture that is mid-grey all over."""
        side = self.bundle.towers.image_side_px
        return self.images.encoded(np.full((3, side, side), 128, dtype=np.uint8)).unsqueeze(0)

    def _look(self, triple: Triple) -> Row:
        item = item_key(triple.benchmark, triple.item_id)
        row = Row(
            triple=triple,
            status=_STATUS_OF.get(triple.response_state, ScoreStatus.SCORED),
            image_state=ImageState.ABSENT,
            digest=None,
            image_code=None,
            item_seen=bool(triple.item_id) and self.bundle.has_seen([item]),
        )
        if triple.image is None:
            stands_in = self.bundle.manifest.captions and triple.caption is not None
            return replace(row, image_state=ImageState.CAPTION) if stands_in else row
        picture = self._pictures.find(triple.image)
        if picture.digest is None:
            answered = row.status is ScoreStatus.SCORED
            return replace(
                row,
                status=ScoreStatus.IMAGE_ERROR if answered else row.status,
                image_state=ImageState.ERROR,
                image_code=picture.fault,
            )
        return replace(
            row,
            image_state=ImageState.IMAGE,
            digest=picture.digest,
            item_seen=row.item_seen or self.bundle.has_seen([picture.digest]),
        )

    def _table(
        self,
        rows: Sequence[Row],
        *,
        cells: Float[np.ndarray, "rows cells"],
        windows: Sequence[int],
        truncated: Sequence[bool],
    ) -> pa.Table:
        unscored = np.array([row.status is not ScoreStatus.SCORED for row in rows], dtype=bool)
        known = np.where(unscored[:, None], np.array([1.0, 0.0, 0.0, 0.0]), cells)
        columns: dict[str, object] = {
            "triple_id": [row.triple.triple_id for row in rows],
            "status": [str(row.status) for row in rows],
            "image_code": [row.image_code for row in rows],
            "image_state": [str(row.image_state) for row in rows],
            "text_windows": list(windows),
            "truncated": list(truncated),
            "item_seen": [row.item_seen for row in rows],
            "vllm_seen": [row.triple.vllm in self._vllms for row in rows],
        }
        for index, cell in enumerate(CELLS):
            columns[cell] = pa.array(known[:, index], pa.float32(), mask=unscored)
        for axis in (Rate.UNSAFE, Rate.NOT_GROUNDED):
            probability = rate_shares(known, rate=axis)
            threshold = getattr(self.bundle.manifest.thresholds, axis)
            columns[axis] = pa.array(probability, pa.float32(), mask=unscored)
            columns[f"{axis}_verdict"] = pa.array(probability >= threshold, mask=unscored)
        return pa.table({name: columns[name] for name in SCORES_SCHEMA.names}, SCORES_SCHEMA)


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {name!r} can't be used here; try cpu, or leave it out") from (
            error
        )


def _image_key(bundle: Bundle) -> str:
    """Everything that an image vector depends on beside the picture's bytes."""
    manifest = bundle.manifest
    adapters = manifest.files["lora.safetensors"] if manifest.network.lora.image else "no adapters"
    return "\n".join((manifest.tower_fingerprint, manifest.preset.model_dump_json(), adapters))
