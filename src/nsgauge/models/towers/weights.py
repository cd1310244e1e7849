"""Where a reference model keeps its weights, and under which names ours hold them."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from nsgauge.errors import SettingsError
from nsgauge.models.towers.transformer import Activation

State = Mapping[str, Tensor]
KINDS = ("weight", "bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNames:
    """Where one block's weights lie in a reference's state dict, relative to the block.

    `attention` is either the prefix of a fused projection's `weight` and `bias`, or three prefixes
    for q, k and v.
    """

    attention: str | tuple[str, str, str]
    out: str
    attention_norm: str
    widen: str
    narrow: str
    mlp_norm: str


OPEN_CLIP_BLOCK = BlockNames(
    attention="attn.in_proj_",
    out="attn.out_proj",
    attention_norm="ln_1",
    widen="mlp.c_fc",
    narrow="mlp.c_proj",
    mlp_norm="ln_2",
)
BERT_BLOCK = BlockNames(
    attention=("attention.self.query.", "attention.self.key.", "attention.self.value."),
    out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    widen="intermediate.dense",
    narrow="output.dense",
    mlp_norm="output.LayerNorm",
)
MPNET_BLOCK = BlockNames(
    attention=("attention.attn.q.", "attention.attn.k.", "attention.attn.v."),
    out="attention.attn.o",
    attention_norm="attention.LayerNorm",
    widen="intermediate.dense",
    narrow="output.dense",
    mlp_norm="output.LayerNorm",
)
TIMM_BLOCK = BlockNames(
    attention="attn.qkv.",
    out="attn.proj",
    attention_norm="norm1",
    widen="mlp.fc1",
    narrow="mlp.fc2",
    mlp_norm="norm2",
)


def block_weights(
    state: State, *, prefix: str, names: BlockNames, layers: int | None = None
) -> dict[str, Tensor]:
    """Every block's weights under our names, or those of the first `layers` blocks."""
    loaded: dict[str, Tensor] = {}
    indices = {int(name[len(prefix) :].split(".")[0]) for name in state if name.startswith(prefix)}
    for index in sorted(indices)[:layers]:
        theirs, ours = f"{prefix}{index}.", f"stack.blocks.{index}."
        loaded |= _attention(state, ours=ours, theirs=theirs, attention=names.attention)
        for field in ("out", "attention_norm", "widen", "narrow", "mlp_norm"):
            source = f"{theirs}{getattr(names, field)}"
            loaded |= module_weights(state, ours=f"{ours}{field}", theirs=source)
    return loaded


def module_weights(state: State, *, ours: str, theirs: str) -> dict[str, Tensor]:
    """Weight and bias of one module (a norm, a linear or a convolution)."""
    return {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for kind in KINDS}


def split_weights(
    state: State, *, ours: str, theirs: str, parts: tuple[str, ...]
) -> dict[str, Tensor]:
    """The parts of a fused projection, by our names; `theirs` goes before `weight` and `bias`."""
    return {
        f"{ours}{part}.{kind}": chunk
        for kind in KINDS
        for part, chunk in zip(parts, state[f"{theirs}{kind}"].chunk(len(parts)), strict=True)
    }


def activation_of(module: nn.Module) -> Activation:
    """What an activation module computes.

    Raises:
        SettingsError: it's none of ours.
    """
    name = type(module).__name__
    if name == "GELU":
        return "gelu_tanh" if getattr(module, "approximate", "none") == "tanh" else "gelu"
    refuse_unless(name == "QuickGELU", "GELU or QuickGELU")
    return "quick_gelu"


def refuse_layer_scale(state: State, *, mark: str) -> None:
    """Refuse blocks that scale what they add; `mark` is in the names of such scales.

    Raises:
        SettingsError: they do.
    """
    refuse_unless(not any(mark in name for name in state), "blocks without layer scale")


def refuse_unless(condition: bool, wanted: str) -> None:  # noqa: FBT001 (reads as a sentence)
    """Refuse a reference model that isn't what we have a tower for.

    Raises:
        SettingsError: the condition doesn't hold.
    """
    if not condition:
        raise SettingsError(f"this reference model isn't supported: expected {wanted}")


def _attention(
    state: State, *, ours: str, theirs: str, attention: str | tuple[str, str, str]
) -> dict[str, Tensor]:
    parts = ("query", "key", "value")
    if isinstance(attention, str):
        return split_weights(state, ours=ours, theirs=f"{theirs}{attention}", parts=parts)
    return {
        f"{ours}{part}.{kind}": state[f"{theirs}{prefix}{kind}"]
        for part, prefix in zip(parts, attention, strict=True)
        for kind in KINDS
    }
