"""Scoring in int8 on a CPU: what reads text, in ONNX Runtime, behind a parity gate.

The image tower stays in fp32: every picture is encoded once, and its vectors are kept for runs in
either arithmetic.
"""

import importlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.checkpoints.export_graphs import PaddedTower
from nsgauge.checkpoints.export_tracing import TEXT_AXES, text_inputs, write_graph
from nsgauge.data.tables import iter_triples, read_verdicts
from nsgauge.data.targets import judge_counts, labels_of
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.controls import drawn
from nsgauge.eval.scoring.parity import Parity, parity
from nsgauge.eval.scoring.runner import Resources, engine_of
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.models.network import Network
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.text import TextTower
from nsgauge.records import TRIPLES_SCHEMA

PADDED_TOKENS = 1024
"""In one run of the graph: enough to keep the products busy, few enough to stay in the cache."""
ENOUGH_TOKENS = 256
GATE_ROWS = 1000
ROWS_READ_AT_ONCE = 8192


class QuantisedTower(TextTower):
    """A text tower whose linears are products of int8, in ONNX Runtime.

    Weights have a scale per output, tokens one per run of the graph, so a token's result depends a
    little on its neighbours; the same windows packed alike give the same result.

    Args:
        tower: Adapters merged, fp32, on the CPU.
        pooled: Whether it gives pooled windows (`forward`), or else their `tokens`.

    Raises:
        ScoringError: the packages onnx, onnxruntime or onnxscript aren't installed.
    """

    def __init__(self, tower: TextTower, *, pooled: bool) -> None:
        nn.Module.__init__(self)
        self.shape = tower.shape
        # A tower is where its parameters are; of the one given, none is kept.
        self.on_cpu = nn.Parameter(torch.empty(0), requires_grad=False)
        self._pooled = pooled
        _require_packages()
        with tempfile.TemporaryDirectory() as folder:
            exact, quantised = (Path(folder) / name for name in ("exact.onnx", "int8.onnx"))
            module, inputs = PaddedTower(tower, pooled=pooled), text_inputs(tower)
            write_graph(module, exact, inputs=inputs, axes=TEXT_AXES, output="read")
            _quantise(exact, to=quantised)
            self._graph = _session(quantised, threads=torch.get_num_threads())

    def forward(self, packed: Packed) -> Float[Tensor, "sequences width"]:
        """As `TextTower.forward`.

        Raises:
            ValueError: it was made to give tokens.
        """
        if not self._pooled:
            raise ValueError("this tower was made to give tokens, not pooled windows")
        return torch.cat(list(self._read(packed)))[packed.restore]

    def tokens(self, packed: Packed) -> Float[Tensor, "tokens width"]:
        """As `TextTower.tokens`.

        Raises:
            ValueError: it was made to give pooled windows.
        """
        if self._pooled:
            raise ValueError("this tower was made to give pooled windows, not tokens")
        return torch.cat(list(self._read(packed)))

    def _read(self, packed: Packed) -> Iterator[Tensor]:
        """What the graph makes of the windows, in packed order, a few at a time."""
        start = 0
        for lengths in _chunks(packed.lengths):
            tokens = sum(lengths)
            here = slice(start, start + tokens)
            start += tokens
            held = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
            ids, segments = (torch.zeros(held.shape, dtype=torch.int64) for _ in range(2))
            ids[held], segments[held] = packed.ids[here], packed.segments[here]
            inputs = {"ids": ids, "segments": segments, "lengths": torch.tensor(lengths)}
            given = {each.name: inputs[each.name].numpy() for each in self._graph.get_inputs()}
            vectors = torch.from_numpy(self._graph.run(None, given)[0])
            yield vectors if self._pooled else vectors[held]


def quantised(bundle: Bundle) -> Bundle:
    """The same classifier with text tower and language model in int8; the one given stays.

    Raises:
        ScoringError: a package is missing, or the classifier isn't on the CPU.
    """
    network = bundle.network
    if next(network.parameters()).device.type != "cpu":
        raise ScoringError("int8 is for CPUs: leave --precision out, or pass --device cpu")
    tower = QuantisedTower(network.text_tower, pooled=not network.pools_tokens)
    language = bundle.towers.language
    if language is not None:
        language = replace(language, tower=QuantisedTower(language.tower, pooled=False))
    towers = replace(bundle.towers, text=tower, language=language)
    # Its own members are never used: no memory for them, and no random numbers.
    with torch.device("meta"):
        other = Network(towers, settings=network.settings)
    other.members = network.members
    return replace(bundle, network=other.eval().requires_grad_(requires_grad=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A classifier in int8, and how far it is from the one in fp32."""

    bundle: Bundle
    parity: Parity


def compared_int8(bundle: Bundle, *, data: Path, rows: int = GATE_ROWS, seed: int = 0) -> Compared:
    """A classifier in int8, compared with itself in fp32 on rows of the data.

    Args:
        bundle: As loaded.
        data: What is to be scored; the AUROC is against its first teacher there.
        rows: How many of its triples are scored both ways, at most.
        seed: Of their draw.

    Raises:
        ScoringError: as `quantised`.
        DataError: the data folder can't be read.
    """
    triples = _drawn(data, rows=rows, seed=seed)
    cheaper = quantised(bundle)
    settings, resources = ScoringSettings(), Resources(device="cpu")
    exact, found = (
        engine_of(each, data=data, settings=settings, resources=resources).score_table(triples)
        for each in (bundle, cheaper)
    )
    verdicts = read_verdicts(data)
    known = judge_counts(verdicts)
    judge = next((name for name in bundle.manifest.training.judges if name in known), None)
    labels = None if judge is None else labels_of(verdicts, judge=judge)
    return Compared(bundle=cheaper, parity=parity(exact, cheaper=found, labels=labels))


def gated_int8(bundle: Bundle, *, data: Path, rows: int = GATE_ROWS, seed: int = 0) -> Compared:
    """As `compared_int8`, but refused unless it passes.

    Raises:
        ScoringError: verdicts flip or the AUROC falls beyond the limits (the message is the
            report), or as `compared_int8`.
        DataError: as `compared_int8`.
    """
    compared = compared_int8(bundle, data=data, rows=rows, seed=seed)
    if not compared.parity.passed:
        report = "; ".join(compared.parity.lines())
        raise ScoringError(f"int8 refused: {report}: score in fp32 (leave --precision out)")
    return compared


def _drawn(data: Path, *, rows: int, seed: int) -> pa.Table:
    """Triples of a data folder, drawn as those of the control runs are."""
    kept = TRIPLES_SCHEMA.empty_table()
    for table in iter_triples(data, rows=ROWS_READ_AT_ONCE):
        kept = drawn(pa.concat_tables([kept, table]), limit=rows, seed=seed)
    return kept


def _chunks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Ascending lengths, in chunks that `PADDED_TOKENS` holds once padded to their longest.

    A chunk with `ENOUGH_TOKENS` takes no window that would have it padded by more than a tenth.
    """
    chunk: list[int] = []
    for length in lengths:
        padded, tokens = (len(chunk) + 1) * length, sum(chunk)
        wasteful = tokens >= ENOUGH_TOKENS and padded > 1.1 * (tokens + length)
        if chunk and (padded > PADDED_TOKENS or wasteful):
            yield chunk
            chunk = []
        chunk.append(length)
    if chunk:
        yield chunk


def _quantise(exact: Path, *, to: Path) -> None:
    """Linears alone, signed weights with a scale per output.

    Seven bits of the weights: without VNNI a sum of two products of eight bits overflows 16
    (microsoft/onnxruntime#12088).
    """
    quantization = importlib.import_module("onnxruntime.quantization")
    # It advises a pre-processing that the exporter has done.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantization.quantize_dynamic(
            exact,
            to,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        root.setLevel(level)


def _session(graph: Path, *, threads: int) -> Any:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _require_packages() -> None:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise ScoringError(f"{package} isn't installed: pip install 'nsgauge[onnx]'") from error
