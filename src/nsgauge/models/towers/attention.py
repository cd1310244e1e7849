"""Self-attention within packed sequences, never across two."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from nsgauge.models.towers.packing import Run, runs_of

HALF_PRECISION = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where sequences lie, as a tensor: a forward that is compiled for it takes any other too.

    Attributes:
        bounds: Where each begins, and where the last one ends, behind the last token.
        longest: No sequence has more tokens.
    """

    bounds: Int[Tensor, " bounds"]
    longest: int


Layout = Sequence[Run] | Offsets
"""Where the sequences lie that attention keeps apart."""


def packed_attention(
    query: Float[Tensor, "tokens heads depth"],
    *,
    key: Float[Tensor, "tokens heads depth"],
    value: Float[Tensor, "tokens heads depth"],
    layout: Layout,
    causal: bool,
    bias: Float[Tensor, "heads longest longest"] | None = None,
) -> Float[Tensor, "tokens heads depth"]:
    """Self-attention within each packed sequence.

    On CUDA in half precision this is one variable-length kernel; elsewhere, or where all lengths
    are equal, one ordinary attention per run.

    Args:
        query: Of every token.
        key: Of every token.
        value: Of every token.
        layout: Where the sequences lie.
        causal: Whether a token sees only itself and earlier ones; not together with a bias.
        bias: Added to the scaled scores, from the first positions on; at least the longest
            sequence wide. Wants runs.

    Raises:
        ValueError: a bias for offsets.
    """
    if isinstance(layout, Offsets):
        if bias is not None:
            raise ValueError("attention with a bias wants the runs of equal lengths, not offsets")
        attended: Tensor = attention_between(
            query, key, value, layout.bounds, layout.longest, causal=causal
        )
        return attended
    # The variable-length kernel takes no bias, and a single run doesn't need it.
    if query.is_cuda and query.dtype in HALF_PRECISION and bias is None and len(layout) > 1:
        lengths = torch.tensor([run.length for run in layout for _ in range(run.count)])
        bounds = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        return _varlen(
            (query, key, value),
            bounds=bounds.to(query.device, non_blocking=True),
            longest=int(lengths.max()),
            causal=causal,
        )
    return _by_runs(query, key=key, value=value, runs=layout, causal=causal, bias=bias)


@torch.library.custom_op("nsgauge::attention_between", mutates_args=(), device_types="cpu")
def attention_between(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, *, causal: bool
) -> Tensor:
    """Attention within the sequences between bounds, as one operator that a compiler leaves whole.

    For inference alone: it has no gradient. The last bound is behind the last token.
    """
    del longest
    runs = tuple(runs_of([length for length in bounds.diff().tolist() if length]))
    return _by_runs(query, key=key, value=value, runs=runs, causal=causal, bias=None)


@attention_between.register_kernel("cuda")
def _(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, *, causal: bool
) -> Tensor:
    # cuDNN makes a plan for every shape, and isn't known to take sequences without a token.
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return _varlen((query, key, value), bounds=bounds, longest=longest, causal=causal)


@attention_between.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, *, causal: bool
) -> Tensor:
    del key, value, bounds, longest, causal
    return torch.empty_like(query)


def _varlen(
    given: tuple[Tensor, Tensor, Tensor],
    *,
    bounds: Int[Tensor, " bounds"],
    longest: int,
    causal: bool,
) -> Float[Tensor, "tokens heads depth"]:
    """The kernel for sequences of any lengths."""
    # torch 2.11 to 2.13 moved causality from `is_causal` to `window_size`; the range starts at
    # 2.11, whose signature has `window_size` already.
    window = (-1, 0) if causal else (-1, -1)
    attended = varlen_attn(*given, bounds, bounds, longest, longest, window_size=window)
    if not isinstance(attended, Tensor):
        raise TypeError("varlen_attn gave more than was asked for")
    return attended


def _by_runs(
    query: Float[Tensor, "tokens heads depth"],
    *,
    key: Float[Tensor, "tokens heads depth"],
    value: Float[Tensor, "tokens heads depth"],
    runs: Sequence[Run],
    causal: bool,
    bias: Float[Tensor, "heads longest longest"] | None,
) -> Float[Tensor, "tokens heads depth"]:
    """One ordinary attention per run of equal lengths."""
    parts = []
    for run in runs:
        stop = run.start + run.count * run.length
        q, k, v = (
            tensor[run.start : stop].view(run.count, run.length, *tensor.shape[1:]).transpose(1, 2)
            for tensor in (query, key, value)
        )
        mask = None if bias is None else bias[:, : run.length, : run.length].to(q.dtype)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        parts.append(attended.transpose(1, 2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)
