"""The engine: a table of triples in, a table of scores out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.eval.scoring.images import ImageVectors
from nsgauge.eval.scoring.memory import Budget
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.placement import device_of, placed, sizes_on, vector_keys
from nsgauge.eval.scoring.rows import IMAGE_STATES, NO_PICTURE, STATUSES, Rows, look
from nsgauge.eval.scoring.settings import Precision
from nsgauge.eval.scoring.texts import Read, TextVectors
from nsgauge.eval.scoring.vector_store import VectorStore
from nsgauge.eval.scoring.watch import Watch
from nsgauge.models.inputs import NetworkInputs, Slots
from nsgauge.models.language import of_rows
from nsgauge.models.lexical import column_grams
from nsgauge.models.network import Network
from nsgauge.models.prediction import logits_of_read, window_shape
from nsgauge.models.stretches import gathered
from nsgauge.models.towers.text import TextTower
from nsgauge.protocol import CELLS, Rate, rate_shares
from nsgauge.records import SCORES_SCHEMA, ScoreStatus

ROWS_PER_DECISION = 1024
BLOCK_BYTES = 128 << 20
"""Of text vectors in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What stands in the image slots.

    Attributes:
        vectors: Of distinct images; one of zeros where there are none.
        slots: Per row, its place among them; -1 for no image.
    """

    vectors: Float[Tensor, "images image_tokens image_width"]
    slots: Int[np.ndarray, " rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was read of some rows.

    Attributes:
        windows: By the text tower.
        exchanges: By the language model; None without one.
    """

    windows: Read
    exchanges: Read | None


class Engine:
    """Scores tables with one bundle on one device.

    Args:
        bundle: A loaded classifier.
        pictures: Where triples' pictures come from.
        cache: Folder of vectors that outlives the run; None for none.
        device: Of torch; None takes CUDA where there is one.
        tokens_per_batch: Packed tokens in one forward; None for what suits the device.
        precision: Of the towers; `auto` is bf16 on CUDA, else fp32. `int8` says that what
            reads the bundle's texts is (`quantised`), and keeps its vectors apart.
        compiled: Compile the towers, in bf16 on CUDA alone: a minute, once.
        watch: Told where the time goes.

    Raises:
        SettingsError: torch has no such device here, or what was asked for can't be compiled.
    """

    def __init__(  # noqa: PLR0913 - what a run may choose
        self,
        bundle: Bundle,
        *,
        pictures: Pictures,
        cache: Path | None,
        device: str | None = None,
        tokens_per_batch: int | None = None,
        precision: Precision = "auto",
        compiled: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.bundle = bundle
        self.pictures = pictures
        self.watch = watch or Watch()
        self._device = device_of(device)
        sizes = sizes_on(self._device.type)
        self._network = bundle.network.to(self._device)
        budgets = [
            Budget(tokens_per_batch or sizes.tokens, short_tokens=sizes.short_tokens)
            for _ in range(2)
        ]
        arithmetic = placed(self._network, budgets=budgets, precision=precision, compiled=compiled)
        # Forwards of other sizes may round otherwise.
        image_key, text_key = (
            f"{key}\n{arithmetic}\n{size}"
            for key, size in zip(
                vector_keys(bundle), (sizes.images, budgets[0].short_tokens), strict=True
            )
        )
        self.images = ImageVectors(
            self._network.image_tower,
            store=VectorStore(cache, key=image_key),
            per_forward=sizes.images,
        )
        self.texts, self.exchanges = (
            TextVectors(
                self._network,
                budget=budget,
                prompts=VectorStore(cache if not language else None, key=text_key),
                answers=VectorStore(None, key=text_key),
                watch=self.watch,
                language=language,
            )
            for language, budget in zip((False, True), budgets, strict=True)
        )

    def score_table(self, table: pa.Table) -> pa.Table:
        """Scores with SCORES_SCHEMA of triples with TRIPLES_SCHEMA, in the order given."""
        return self.score(self.look(table))

    def look(self, table: pa.Table) -> Rows:
        """Find pictures and lay out texts: all that needs no tower, and may run in a thread."""
        return look(table, bundle=self.bundle, pictures=self.pictures, watch=self.watch)

    def score(self, rows: Rows) -> pa.Table:
        """Scores with SCORES_SCHEMA, one row each, in the order given."""
        cells = np.full((len(rows), len(CELLS)), np.nan)
        with self.watch.during("computing"):
            for block in self.blocks(rows):
                seen, rows = self.see(rows, block=block)
                scored = block[rows.statuses[block] == STATUSES.index(ScoreStatus.SCORED)]
                if len(scored):
                    told = self.read(rows, chosen=scored)
                    cells[scored] = self.decide(rows, chosen=scored, told=told, seen=seen)
            return self.table(rows, cells=cells)

    def read(
        self, rows: Rows, *, chosen: Int[np.ndarray, " chosen"], known: Told | None = None
    ) -> Told:
        """What the text tower and the language model make of some rows.

        Args:
            rows: Whose texts.
            chosen: Row numbers.
            known: What needn't be read again.
        """
        before = None if known is None else known.windows
        windows = self.texts.of(rows.texts, keys=rows.keys, chosen=chosen, known=before)
        if rows.exchanges is None:
            return Told(windows=windows, exchanges=None)
        before = None if known is None else known.exchanges
        exchanges = self.exchanges.of(
            rows.exchanges, keys=rows.exchange_keys, chosen=chosen, known=before
        )
        return Told(windows=windows, exchanges=exchanges)

    def blocks(self, rows: Rows) -> Iterator[Int[np.ndarray, " block"]]:
        """Row numbers in blocks whose vectors fit the memory; rows with one response together."""
        order = np.argsort(rows.responses, kind="stable")
        readers, width = window_shape(self._network)
        windows = np.diff(rows.texts.bounds)[order]
        held = np.cumsum(windows * readers * width + _image_numbers(self._network))
        bounds = np.flatnonzero(np.diff(held * 4 // BLOCK_BYTES)) + 1
        return iter(np.split(order, bounds) if len(order) else [])

    def see(self, rows: Rows, *, block: Int[np.ndarray, " block"]) -> tuple[Seen, Rows]:
        """Vectors of a block's pictures; and the rows, with what couldn't be decoded marked."""
        own = np.unique(rows.pictures[block])
        wanted = [rows.digests[place] for place in own.tolist() if place != NO_PICTURE]
        path_of = dict(zip(rows.digests, rows.paths, strict=True))
        found = self.images.of(
            {digest: path_of[digest] for digest in wanted}, decoded=self.pictures.decoded
        )
        faults = {digest: self.pictures.fault(digest) for digest in wanted if digest not in found}
        place = {digest: index for index, digest in enumerate(found)}
        of_picture = np.array([place.get(digest, -1) for digest in rows.digests] + [-1])
        return self._seen(list(found.values()), slots=of_picture[rows.pictures]), rows.marked(
            faults
        )

    def blank(self, rows: Rows) -> Seen:
        """A picture that is mid-grey all over, in the place of every picture."""
        side = self.bundle.towers.image_side_px
        grey = self.images.encoded(np.full((3, side, side), 128, dtype=np.uint8))
        return self._seen([grey], slots=np.where(rows.pictures == NO_PICTURE, -1, 0))

    def unseen(self, rows: Rows) -> Seen:
        """No picture to any row."""
        return self._seen([], slots=np.full(len(rows), -1))

    def decide(
        self, rows: Rows, *, chosen: Int[np.ndarray, " chosen"], told: Told, seen: Seen
    ) -> Float[np.ndarray, "chosen cells"]:
        """Calibrated cells of some rows from what was read and seen."""
        logits = np.empty((len(chosen), len(CELLS)), dtype=np.float32)
        read = told.windows
        vectors, images = read.vectors.to(self._device), seen.vectors.to(self._device)
        lexical = self._network.settings.channels.lexical
        order = np.argsort(np.diff(rows.texts.bounds)[chosen], kind="stable")
        for start in range(0, len(order), ROWS_PER_DECISION):
            at = order[start : start + ROWS_PER_DECISION]
            own = chosen[at]
            held = Slots.of(rows.texts, chosen=own, places=read.places)
            inputs = NetworkInputs(
                packed=None,
                window_vectors=None,
                token_vectors=None,
                slots=held.slots,
                roles=held.roles,
                ordinals=held.ordinals,
                image_slots=torch.from_numpy(seen.slots[own]),
                pixels=None,
                image_features=images,
                grams=None
                if lexical is None
                else column_grams(rows.texts, chosen=own, settings=lexical),
                channels=True,
                exchanges=_exchanges(
                    rows,
                    chosen=own,
                    read=told.exchanges,
                    tower=self._network.language_tower,
                ),
            )
            logits[at] = logits_of_read(
                self._network, inputs=inputs.to(self._device), windows=vectors
            )
        return self.bundle.manifest.calibrator.probabilities(logits)

    def table(self, rows: Rows, *, cells: Float[np.ndarray, "rows cells"]) -> pa.Table:
        """What is said of the rows, with SCORES_SCHEMA; rows that aren't scored hold no number."""
        unscored = rows.statuses != STATUSES.index(ScoreStatus.SCORED)
        known = np.where(unscored[:, None], np.array([1.0, 0.0, 0.0, 0.0]), cells)
        vllms = pa.array(sorted(self.bundle.manifest.training.vllms), pa.string())
        columns: dict[str, object] = {
            "triple_id": rows.table["triple_id"],
            "status": pa.array(STATUSES, pa.string()).take(pa.array(rows.statuses)),
            "image_code": pa.array(rows.codes, pa.string()),
            "image_state": pa.array(IMAGE_STATES, pa.string()).take(pa.array(rows.image_states)),
            "text_windows": pa.array(rows.texts.response_windows, pa.int32()),
            "truncated": pa.array(rows.texts.truncated),
            "item_seen": pa.array(rows.item_seen),
            "vllm_seen": pc.is_in(rows.table["vllm"], value_set=vllms),
        }
        for index, cell in enumerate(CELLS):
            columns[cell] = pa.array(known[:, index], pa.float32(), mask=unscored)
        for axis in (Rate.UNSAFE, Rate.NOT_GROUNDED):
            probability = rate_shares(known, rate=axis)
            threshold = getattr(self.bundle.manifest.thresholds, axis)
            columns[axis] = pa.array(probability, pa.float32(), mask=unscored)
            columns[f"{axis}_verdict"] = pa.array(probability >= threshold, mask=unscored)
        return pa.table({name: columns[name] for name in SCORES_SCHEMA.names}, SCORES_SCHEMA)

    def flush(self) -> None:
        """Bring what is new in the caches to where it outlives the run."""
        self.images.flush()
        self.texts.flush()

    def _seen(self, vectors: Sequence[np.ndarray], *, slots: Int[np.ndarray, " rows"]) -> Seen:
        tower = self._network.image_tower
        stacked = (
            np.stack(vectors)
            if vectors
            else np.zeros((1, 1 + tower.patch_grid**2, tower.width), dtype=np.float32)
        )
        return Seen(vectors=torch.from_numpy(stacked), slots=slots)


def _exchanges(
    rows: Rows,
    *,
    chosen: Int[np.ndarray, " chosen"],
    read: Read | None,
    tower: TextTower | None,
) -> Float[Tensor, "chosen exchange_width"] | None:
    """What the language model made of some rows."""
    if read is None or rows.exchanges is None or tower is None:
        return None
    each = np.diff(rows.exchanges.bounds)[chosen]
    starts = rows.exchanges.bounds[:-1][chosen]
    windows, roles = (
        gathered(column, starts=starts, lengths=each)
        for column in (read.places, rows.exchanges.roles)
    )
    vectors = read.vectors[windows, 0].numpy()
    return torch.from_numpy(of_rows(vectors, each=each, roles=roles, tower=tower))


def _image_numbers(network: Network) -> int:
    """How many numbers the vectors of one image hold."""
    tower = network.image_tower
    return (1 + tower.patch_grid**2) * tower.width
