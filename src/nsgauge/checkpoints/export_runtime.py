"""Scores triples with graphs that `nsgauge export --to onnx` wrote: no torch, no nsgauge.

Copied beside the graphs as `nsgauge_onnx.py`; needs numpy, onnxruntime and tokenizers.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nsgauge.checkpoints.export_reading import (
    FORMAT,
    FORMAT_KEY,
    GRAPHS,
    LANGUAGE,
    LEXICAL,
    SETTINGS,
    TOKENIZER,
    Ids,
    Reader,
    Slot,
    Triple,
    Window,
    count_grams,
    read_picture,
)

Array = NDArray[Any]

PADDED_TOKENS = 2048
"""In one run of a graph that reads text."""
ROWS = 64
"""In one run of the decision graph."""


class OnnxClassifier:
    """A classifier in a folder of graphs.

    Args:
        folder: As `nsgauge export --to onnx` made it.
        threads: Of one graph; 0 takes a core each.

    Raises:
        ValueError: another format, or a file isn't the one that was exported.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        self._settings = verified(folder)
        self._reader = Reader(
            (folder / TOKENIZER).read_text(encoding="utf-8"),
            text=self._settings["text"],
            windows=self._settings["windows"],
        )
        self._text, self._image, self._decision = (
            session(folder / name, threads=threads) for name in GRAPHS
        )
        if self._settings["language"] is not None:
            graph, tokenizer = (folder / name for name in LANGUAGE)
            self._language = session(graph, threads=threads)
            self._exchanges = Reader(
                tokenizer.read_text(encoding="utf-8"),
                text=self._settings["language"]["text"],
                windows=self._settings["language"]["windows"],
            )
        self._channels: list[tuple[Array, ...]] = []
        if self._settings["lexical"] is not None:
            # Arrays alone: pickle is refused.
            with np.load(folder / LEXICAL, allow_pickle=False) as arrays:
                names = ("keys", "idf", "weight", "bias")
                self._channels = list(zip(*(arrays[name] for name in names), strict=True))

    def score(self, triples: Sequence[Triple]) -> Iterator[dict[str, Any]]:
        """One dictionary a triple, in order.

        `status` is `scored`, `empty_response` or `image_error`; only a scored row has numbers: the
        four cells, `unsafe` and `not_grounded`, in [0, 1], and the two verdicts.
        """
        if self._settings["captions"] == "always":
            triples = [t if t.caption is None else replace(t, image=None) for t in triples]
        for first in range(0, len(triples), ROWS):
            yield from self._batch(triples[first : first + ROWS])

    def _batch(self, triples: Sequence[Triple]) -> Iterator[dict[str, Any]]:
        vectors, images = self._pictures(triples)
        readings = [self._reader.read(t, captions=self._settings["captions"]) for t in triples]
        status = [_status(t, image=image) for t, image in zip(triples, images, strict=True)]
        rows = [row for row, said in enumerate(status) if said == "scored"]
        cells = iter(())
        if rows:
            inputs = {
                "image": vectors[[images[row] or 0 for row in rows]],
                "image_present": np.array([images[row] is not None for row in rows]),
                **self._windows([readings[row].slots for row in rows]),
            }
            if self._channels:
                inputs["lexical"] = self._words([readings[row].response for row in rows])
            if self._settings["language"] is not None:
                inputs["exchanges"] = self._told([triples[row] for row in rows])
            cells = iter(self._calibrated(run(self._decision, inputs)))
        for said, reading in zip(status, readings, strict=True):
            row = {"status": said, "truncated": reading.truncated}
            yield row | (self._numbers(next(cells)) if said == "scored" else {})

    def _calibrated(self, logits: Array) -> Array:
        calibrator = self._settings["calibrator"]
        scaled = calibrator["scale"] * logits.astype(np.float64) + calibrator["shift"]
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _numbers(self, cells: Array) -> dict[str, Any]:
        said: dict[str, Any] = dict(zip(self._settings["cells"], cells.tolist(), strict=True))
        for axis, members in self._settings["axes"].items():
            said[axis] = sum(said[cell] for cell in members)
            said[f"{axis}_verdict"] = said[axis] >= self._settings["thresholds"][axis]
        return said

    def _windows(self, rows: Sequence[Sequence[Slot]]) -> dict[str, Array]:
        """What the decision reads of the rows' windows; each distinct one is encoded once."""
        vectors, index = _read_once(self._text, [slot.window for slots in rows for slot in slots])
        shape = (len(rows), max(map(len, rows)))
        places, ordinals = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        roles = np.full(shape, -1)
        for row, slots in enumerate(rows):
            held = slice(len(slots))
            places[row, held] = [index[slot.window] for slot in slots]
            roles[row, held] = [slot.role for slot in slots]
            ordinals[row, held] = [slot.ordinal for slot in slots]
        return {"windows": vectors[places], "roles": roles, "ordinals": ordinals}

    def _told(self, triples: Sequence[Triple]) -> Array:
        """What the language model makes of each exchange, as nsgauge.models.language has it."""
        captions, told = self._settings["captions"], self._settings["language"]
        rows = [self._exchanges.exchange(t, captions=captions, told=told) for t in triples]
        windows = [window for row in rows for window in (*row.told, row.untold) if window]
        vectors, index = _read_once(self._language, windows)
        said = []
        for row in rows:
            own = vectors[[index[window] for window in row.told]]
            compared = own[0] if row.untold is None else vectors[index[row.untold]]
            said.append(_exchange(own, compared=compared, beginnings=len(told["beginnings"])))
        return np.stack(said)

    def _pictures(self, triples: Sequence[Triple]) -> tuple[Array, list[int | None]]:
        """Vectors of distinct pictures, and each row's place: -1 if it can't be read."""
        image = self._settings["image"]
        squash = image["resize"] == "squash"
        found: dict[str, int] = {}
        vectors = [np.zeros((1, image["vectors"], image["width"]), np.float32)]
        for path in dict.fromkeys(t.image for t in triples if t.image is not None):
            pixels = read_picture(Path(path), side=image["side_px"], squash=squash)
            found[path] = -1 if pixels is None else len(vectors)
            if pixels is not None:
                vectors.append(run(self._image, {"pixels": pixels[None]}))
        return np.concatenate(vectors), [
            None if t.image is None else found[t.image] for t in triples
        ]

    def _words(self, rows: Sequence[Sequence[Ids]]) -> Array:
        """What each member's lexical channel says of each row's response."""
        longest = self._settings["lexical"]["longest"]
        counted = [count_grams(stretches, longest=longest) for stretches in rows]
        said = [[_channel(grams, *channel) for channel in self._channels] for grams in counted]
        return np.array(said, np.float32)


def verified(folder: Path) -> dict[str, Any]:
    """The settings of an exported folder, once every file is found to be the one written.

    Raises:
        ValueError: another format, a file is missing or was changed.
    """
    settings: dict[str, Any] = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or settings.get(FORMAT_KEY) != FORMAT:
        raise ValueError(f"{folder / SETTINGS}: expected {FORMAT_KEY} {FORMAT}; export again")
    lexical = () if settings["lexical"] is None else (LEXICAL,)
    language = () if settings["language"] is None else LANGUAGE
    for name in (*GRAPHS, TOKENIZER, *lexical, *language):
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != settings["files"].get(name):
            raise ValueError(f"{folder / name}: not the file that was exported; copy it again")
    return settings


def session(graph: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """A graph, ready to run on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(graph: onnxruntime.InferenceSession, inputs: dict[str, Array]) -> Array:
    """The one output of a graph; it is given the inputs that it has."""
    held = {wanted.name: inputs[wanted.name] for wanted in graph.get_inputs()}
    return np.asarray(graph.run(None, held)[0])


def _status(triple: Triple, *, image: int | None) -> str:
    if not triple.response.strip():
        return "empty_response"
    return "image_error" if image == -1 else "scored"


def _read_once(
    graph: onnxruntime.InferenceSession, windows: Sequence[Window]
) -> tuple[Array, dict[Window, int]]:
    """Vectors of the distinct windows, and each one's place among them."""
    distinct = sorted(set(windows), key=lambda window: (len(window.ids), window))
    vectors = np.concatenate([_vectors(graph, chunk) for chunk in _chunks(distinct)])
    return vectors, {window: place for place, window in enumerate(distinct)}


def _vectors(graph: onnxruntime.InferenceSession, windows: Sequence[Window]) -> Array:
    lengths = np.array([len(window.ids) for window in windows])
    ids, segments = (np.zeros((len(windows), lengths.max()), np.int64) for _ in range(2))
    for row, window in enumerate(windows):
        ids[row, : lengths[row]] = window.ids
        segments[row, : lengths[row]] = window.segments
    return run(graph, {"ids": ids, "segments": segments, "lengths": lengths})


def _exchange(read: Array, *, compared: Array, beginnings: int) -> Array:
    """A row's numbers, from what was read of its windows and of the one that is compared."""
    means = read.mean(axis=0)
    if not beginnings:
        return np.asarray(means)
    width = (read.shape[1] - beginnings) // 2
    gains = read[0, -beginnings:] - compared[-beginnings:]
    return np.concatenate([means[:width], read[0, width:-beginnings], gains])


def _chunks(windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
    """Windows, the shortest first, in chunks that `PADDED_TOKENS` holds."""
    first = 0
    for last, window in enumerate(windows, start=1):
        if last - first > 1 and (last - first) * len(window.ids) > PADDED_TOKENS:
            yield windows[first : last - 1]
            first = last - 1
    yield windows[first:]


def _channel(
    grams: tuple[Array, Array], keys: Array, idf: Array, weight: Array, bias: Array
) -> Array:
    """A lexical channel: multinomial logistic regression on the TF-IDF of a response's n-grams."""
    found, counts = grams
    places = np.searchsorted(keys, found).clip(max=len(keys) - 1)
    known = keys[places] == found
    weights = ((1 + np.log(counts)) * idf[places] * known).astype(np.float32)
    length = max(float(np.sqrt((weights**2).sum())), float(np.finfo(np.float32).tiny))
    return np.asarray(weights / length @ weight[places] + bias)
