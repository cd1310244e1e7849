"""A text tower in int8 on a CPU, by ONNX Runtime."""

import copy
import importlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nsgauge.checkpoints.export_graphs import PaddedTower
from nsgauge.checkpoints.export_tracing import TEXT_AXES, text_inputs, write_graph
from nsgauge.errors import ScoringError, installing
from nsgauge.models.towers.packing import Packed
from nsgauge.models.towers.text import TextTower

PADDED_TOKENS = 1024
"""In one run of the graph: enough to keep the products busy, few enough to stay in the cache."""
ENOUGH_TOKENS = 256
SMOOTHED = ("out", "widen", "gate")
"""Names, within a block, of the linears that are of int8 in any case."""
LEAST = 1e-5
"""A column that is never used isn't scaled up without end."""
CPU_FLAGS = Path("/proc/cpuinfo")


class QuantisedTower(TextTower):
    """A text tower most of whose linears are products of int8, in ONNX Runtime.

    Those of queries, keys and values stay in fp32. Weights have a scale per output, tokens one per
    run of the graph, so a token's result depends a little on its neighbours; the same windows
    packed alike give the same result.

    Args:
        tower: Adapters merged, fp32, on the CPU.
        pooled: Whether it gives pooled windows (`forward`), or else their `tokens`.
        careful: Windows as they will come; None to have all others in int8. With them the
            products that end the MLPs stay in fp32: a few of the numbers that these take are much
            larger than the rest, which one scale has to serve. That is most of the error, and a
            third of the products. The others' inputs are smoothed by what the windows hold.

    Raises:
        ScoringError: the packages onnx, onnxruntime or onnxscript aren't installed.
    """

    def __init__(self, tower: TextTower, *, pooled: bool, careful: Packed | None = None) -> None:
        nn.Module.__init__(self)
        self.shape = tower.shape
        # A tower is where its parameters are; of the one given, none is kept.
        self.on_cpu = nn.Parameter(torch.empty(0), requires_grad=False)
        self.arithmetic = "int8" if careful is None else "int8, careful"
        self._pooled = pooled
        _require_packages()
        with tempfile.TemporaryDirectory() as folder:
            exact, quantised = (Path(folder) / name for name in ("exact.onnx", "int8.onnx"))
            if careful is not None:
                tower = smoothed(tower, windows=careful)
            module, inputs = PaddedTower(tower, pooled=pooled), text_inputs(tower)
            write_graph(module, exact, inputs=inputs, axes=TEXT_AXES, output="read")
            kept = [] if careful is None else _narrow(exact, tower=tower)
            _quantise(exact, to=quantised, kept=kept)
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


class SmoothedLinear(nn.Module):
    """A linear whose inputs are divided, and whose weights multiplied, by a scale a column."""

    def __init__(self, linear: nn.Linear, *, scale: Float[Tensor, " inputs"]) -> None:
        super().__init__()
        self.inverse = nn.Parameter(1 / scale, requires_grad=False)
        self.linear = copy.deepcopy(linear)
        self.linear.weight.mul_(scale)

    def forward(self, given: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """What the linear makes of it, but for rounding."""
        product: Tensor = self.linear(given * self.inverse)
        return product


@torch.inference_mode()
def smoothed(tower: TextTower, *, windows: Packed) -> TextTower:
    """A copy that gives the same, with inputs of its linears that one scale serves better.

    The largest of an input's column and of its weights' become alike, as their geometric mean.
    Linears that stay in fp32 (queries, keys, values, the ends of MLPs) are left as they are.

    Args:
        tower: In fp32.
        windows: As they will come.

    Source: Xiao et al. 2023 (SmoothQuant), equation 4 with alpha = 0.5.
    """
    tower = copy.deepcopy(tower)
    largest: dict[str, Tensor] = {}

    def note(name: str, given: tuple[Tensor, ...]) -> None:
        largest[name] = given[0].flatten(0, -2).abs().amax(dim=0)

    linears = {
        name: module
        for name, module in tower.stack.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in SMOOTHED
    }
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: note(name, given))
        for name, module in linears.items()
    ]
    tower.tokens(windows)
    for hook in hooks:
        hook.remove()
    for name, linear in linears.items():
        column = linear.weight.abs().amax(dim=0).clamp(min=LEAST)
        scale = (largest[name].clamp(min=LEAST) / column).sqrt()
        block, _, own = name.rpartition(".")
        tower.stack.get_submodule(block).add_module(own, SmoothedLinear(linear, scale=scale))
    return tower.requires_grad_(requires_grad=False)


def _narrow(graph: Path, *, tower: TextTower) -> list[str]:
    """Names of the products that end the MLPs."""
    shape = tower.shape.transformer
    model = importlib.import_module("onnx").load(graph)
    sizes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and sizes.get(node.input[1]) == (shape.hidden, shape.width)
    ]


def _quantise(exact: Path, *, to: Path, kept: list[str]) -> None:
    """Linears alone, signed weights with a scale per output; those kept stay in fp32.

    Without VNNI weights have seven bits: a sum of two products of eight overflows 16
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
            reduce_range=not _has_vnni(),
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        root.setLevel(level)


def _has_vnni() -> bool:
    """Whether the processor adds products of eight bits in 32; where that isn't known, no."""
    try:
        flags = CPU_FLAGS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


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
            raise ScoringError(f"{package} isn't installed: {installing('onnx')}") from error
