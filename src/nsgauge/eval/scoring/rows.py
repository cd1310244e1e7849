"""Triples as they go into the classifier: looked at and tokenized, column by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.split import item_key
from nsgauge.eval.scoring.pictures import Pictures
from nsgauge.eval.scoring.watch import Watch
from nsgauge.models.row_windows import RowWindows
from nsgauge.records import ImageState, ResponseState, ScoreStatus

STATUSES = tuple(ScoreStatus)
IMAGE_STATES = tuple(ImageState)
NO_PICTURE = -1

_STATUS_OF = {
    ResponseState.EMPTY: ScoreStatus.EMPTY_RESPONSE,
    ResponseState.NOT_A_RESPONSE: ScoreStatus.NOT_A_RESPONSE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table of triples, looked at and tokenized: nothing in it needs the classifier's device.

    Attributes:
        table: TRIPLES_SCHEMA.
        texts: Every row's windows.
        keys: Of every window, as `Windows.keys` gives them.
        exchanges: Every row as the language model reads it; None without one.
        exchange_keys: Of every window of these.
        responses: Per row, which of the table's distinct responses it holds, by first appearance.
        statuses: Per row, its place in `STATUSES`, as far as is known before a picture is decoded.
        image_states: Per row, its place in `IMAGE_STATES`.
        pictures: Per row, its place in `digests`, or `NO_PICTURE`.
        digests: Of the distinct pictures.
        paths: Of each of these, a path.
        codes: Per row, what is wrong with its picture.
        item_seen: Per row, whether the bundle was made with its item or picture.
    """

    table: pa.Table
    texts: RowWindows
    keys: Sequence[bytes]
    exchanges: RowWindows | None
    exchange_keys: Sequence[bytes]
    responses: Int[np.ndarray, " rows"]
    statuses: Int[np.ndarray, " rows"]
    image_states: Int[np.ndarray, " rows"]
    pictures: Int[np.ndarray, " rows"]
    digests: Sequence[str]
    paths: Sequence[str]
    codes: Sequence[str | None]
    item_seen: Bool[np.ndarray, " rows"]

    def __len__(self) -> int:
        """How many rows."""
        return int(self.table.num_rows)

    def without_pictures(self) -> "Rows":
        """The same rows, with no picture to any of them."""
        return replace(
            self,
            pictures=np.full(len(self), NO_PICTURE),
            image_states=np.full(len(self), IMAGE_STATES.index(ImageState.ABSENT)),
        )

    def marked(self, faults: Mapping[str, str | None]) -> "Rows":
        """The same rows, after some pictures turned out to be faulty.

        Args:
            faults: Codes by digest.
        """
        if not faults:
            return self
        of_picture = [faults.get(digest) for digest in self.digests] + [None]
        new = [of_picture[place] for place in self.pictures.tolist()]
        statuses, image_states = self.statuses.copy(), self.image_states.copy()
        _mark([code is not None for code in new], statuses=statuses, image_states=image_states)
        return replace(
            self,
            statuses=statuses,
            image_states=image_states,
            codes=[code or old for code, old in zip(new, self.codes, strict=True)],
        )

    def with_texts(self, texts: "Texts") -> "Rows":
        """The same rows, read otherwise."""
        return replace(
            self,
            texts=texts.windows,
            keys=texts.windows.windows.keys(),
            exchanges=texts.exchanges,
            exchange_keys=texts.exchange_keys,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Rows laid out for the text tower, and for the language model if there is one."""

    windows: RowWindows
    exchanges: RowWindows | None

    @property
    def exchange_keys(self) -> list[bytes]:
        """Of every window of the exchanges."""
        return [] if self.exchanges is None else self.exchanges.windows.keys()


@dataclass(frozen=True, slots=True)
class _Found:
    """The pictures of a table."""

    pictures: Int[np.ndarray, " rows"]
    digests: Sequence[str]
    paths: Sequence[str]
    codes: Sequence[str | None]

    def without(self, where: Bool[np.ndarray, " rows"]) -> "_Found":
        """The same, but some rows have no picture, nor one that is faulty."""
        codes = [None if gone else code for gone, code in zip(where, self.codes, strict=True)]
        return replace(self, pictures=np.where(where, NO_PICTURE, self.pictures), codes=codes)


def look(table: pa.Table, *, bundle: Bundle, pictures: Pictures, watch: Watch) -> Rows:
    """Find each triple's picture, decide whether it can be scored, and lay out its texts.

    Args:
        table: TRIPLES_SCHEMA.
        bundle: The classifier, whose reader lays out the texts.
        pictures: Where they come from.
        watch: Told of the time.
    """
    with watch.during("reading"):
        found = _pictures(table, pictures=pictures)
        item_seen = _seen_items(table, bundle=bundle)
        seen_pictures = np.array([bundle.has_seen([digest]) for digest in found.digests] + [False])
        item_seen |= seen_pictures[found.pictures]
        captions = bundle.manifest.captions
        if captions == "always":
            found = found.without(table["caption"].is_valid().to_numpy())
        statuses, image_states = _states(table, found=found, captions=bool(captions))
    with watch.during("tokenizing"):
        texts = read_texts(table, bundle=bundle, image_states=image_states)
        keys, exchange_keys = texts.windows.windows.keys(), texts.exchange_keys
    return Rows(
        table=table,
        texts=texts.windows,
        keys=keys,
        exchanges=texts.exchanges,
        exchange_keys=exchange_keys,
        responses=_places(table["response"])[0],
        statuses=statuses,
        image_states=image_states,
        pictures=found.pictures,
        digests=found.digests,
        paths=found.paths,
        codes=found.codes,
        item_seen=item_seen,
    )


def read_texts(table: pa.Table, *, bundle: Bundle, image_states: Int[np.ndarray, " rows"]) -> Texts:
    """The rows' windows; a caption is read where it stands in for the picture."""
    stands_in = image_states == IMAGE_STATES.index(ImageState.CAPTION)
    captions = pc.if_else(pa.array(stands_in), table["caption"], pa.scalar(None, pa.string()))
    prompts, responses = table["prompt"].to_pylist(), table["response"].to_pylist()
    shown = captions.to_pylist()
    return Texts(
        windows=bundle.reader.columns(prompts, responses=responses, captions=shown),
        exchanges=None
        if bundle.exchanges is None
        else bundle.exchanges.columns(prompts, responses=responses, captions=shown),
    )


def _places(column: pa.ChunkedArray) -> tuple[Int[np.ndarray, " rows"], list[str]]:
    """Per row, its place among the column's distinct values, or -1 for none; and these values."""
    encoded = column.combine_chunks().dictionary_encode()
    places = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return places.astype(np.int64), encoded.dictionary.to_pylist()


def _pictures(table: pa.Table, *, pictures: Pictures) -> _Found:
    of_row, paths = _places(table["image"])
    found = pictures.find(paths)
    digests: dict[str, int] = {}
    first: list[str] = []
    place = np.full(len(paths) + 1, NO_PICTURE)
    for index, (path, picture) in enumerate(zip(paths, found, strict=True)):
        if picture.digest is not None:
            place[index] = digests.setdefault(picture.digest, len(digests))
            if place[index] == len(first):
                first.append(path)
    faults = [picture.fault for picture in found] + [None]
    return _Found(place[of_row], list(digests), first, [faults[index] for index in of_row.tolist()])


def _states(
    table: pa.Table, *, found: _Found, captions: bool
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " rows"]]:
    """Statuses and image states, as far as they are known before a picture is decoded."""
    places, states = _places(table["response_state"])
    of_state = [_STATUS_OF.get(ResponseState(state), ScoreStatus.SCORED) for state in states]
    statuses = np.array([STATUSES.index(status) for status in of_state], dtype=np.int64)[places]
    image_states = np.full(table.num_rows, IMAGE_STATES.index(ImageState.ABSENT))
    image_states[found.pictures != NO_PICTURE] = IMAGE_STATES.index(ImageState.IMAGE)
    _mark([code is not None for code in found.codes], statuses=statuses, image_states=image_states)
    if captions:
        no_image = image_states == IMAGE_STATES.index(ImageState.ABSENT)
        stands_in = no_image & table["caption"].is_valid().to_numpy()
        image_states[stands_in] = IMAGE_STATES.index(ImageState.CAPTION)
    return statuses, image_states


def _mark(
    faulty: Sequence[bool],
    *,
    statuses: Int[np.ndarray, " rows"],
    image_states: Int[np.ndarray, " rows"],
) -> None:
    """Mark the rows whose picture can't be used; one without an answer keeps its own status."""
    where = np.array(faulty, dtype=bool)
    image_states[where] = IMAGE_STATES.index(ImageState.ERROR)
    answered = statuses == STATUSES.index(ScoreStatus.SCORED)
    statuses[where & answered] = STATUSES.index(ScoreStatus.IMAGE_ERROR)


def _seen_items(table: pa.Table, *, bundle: Bundle) -> Bool[np.ndarray, " rows"]:
    of_benchmark, benchmarks = _places(table["benchmark"])
    of_item, items = _places(table["item_id"])
    pairs, of_row = np.unique(np.stack([of_benchmark, of_item]), axis=1, return_inverse=True)
    seen = [
        bool(items[item]) and bundle.has_seen([item_key(benchmarks[benchmark], items[item])])
        for benchmark, item in pairs.T.tolist()
    ]
    return np.array(seen, dtype=bool)[of_row.ravel()]
