"""Our towers from a reference model's weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nsgauge.errors import SettingsError
from nsgauge.models.towers.image import ConvTower, ImageTower, Normalisation, VitShape, VitTower
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import Activation, TransformerShape

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNames:
    """Where one block's weights lie in a reference's state dict, relative to the block.

    `attention` is either the prefix of a fused `in_proj_*`, or three prefixes for q, k and v.
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
    attention=("attention.self.query", "attention.self.key", "attention.self.value"),
    out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    widen="intermediate.dense",
    narrow="output.dense",
    mlp_norm="output.LayerNorm",
)


def image_tower(
    reference: nn.Module, *, normalisation: Normalisation, patch_grid: int
) -> ImageTower:
    """The image tower of an open_clip model: our ViT, or its convolutional trunk as it is.

    Raises:
        SettingsError: a transformer of a kind that we have no tower for.
    """
    visual: Any = reference.get_submodule("visual")
    if hasattr(visual, "trunk"):
        _refuse_unless(
            hasattr(visual.trunk, "forward_features") and not list(visual.head.children()),
            "a timm trunk without a projection head",
        )
        tower = ConvTower(visual.trunk, normalisation=normalisation, patch_grid=patch_grid)
        return tower.eval()
    _refuse_unless(visual.attn_pool is None, "a ViT without an attention pooler")
    _refuse_unless(visual.pool_type == "tok", "a ViT pooled at its class token")
    _refuse_layer_scale(visual.transformer)
    shape = VitShape(
        transformer=_clip_shape(visual.transformer, causal=False),
        image_side_px=visual.image_size[0],
        patch_side_px=visual.patch_size[0],
        projection=visual.output_dim,
    )
    vit = VitTower(shape, normalisation=normalisation, patch_grid=patch_grid)
    state = visual.state_dict()
    loaded = {
        "patches.weight": state["conv1.weight"],
        "class_embedding": state["class_embedding"],
        "position_embedding": state["positional_embedding"],
        "projection.weight": state["proj"].T,
        **_norm(state, ours="first_norm", theirs="ln_pre"),
        **_norm(state, ours="last_norm", theirs="ln_post"),
        **_blocks(state, prefix="transformer.resblocks.", names=OPEN_CLIP_BLOCK),
    }
    vit.load_state_dict(loaded, strict=True)
    return vit.eval()


def text_tower(reference: nn.Module) -> TextTower:
    """The text tower of an open_clip model: BERT-like, or causal CLIP text.

    Raises:
        SettingsError: a text tower whose result depends on its padding, or of another kind.
    """
    holder: Any = reference.get_submodule("text") if hasattr(reference, "text") else reference
    if hasattr(holder, "config"):
        return _bert_tower(holder)
    _refuse_unless(holder.attn_mask is not None, "a causal text tower")
    pool_type = getattr(holder, "pool_type", getattr(holder, "text_pool_type", None))
    _refuse_unless(pool_type == "argmax", "a text tower pooled at its end token")
    _refuse_layer_scale(holder.transformer)
    state = holder.state_dict()
    projection = state["text_projection"].shape[1]
    context = state["positional_embedding"].shape[0]
    shape = TextShape(
        transformer=_clip_shape(holder.transformer, causal=True),
        vocabulary=state["token_embedding.weight"].shape[0],
        context=context,
        pooling="end",
        embedding_norm=False,
        projection=projection,
    )
    tower = TextTower(shape)
    loaded = {
        "token_embedding.weight": state["token_embedding.weight"],
        "position_embedding.weight": state["positional_embedding"],
        "projection.weight": state["text_projection"].T,
        **_norm(state, ours="norm", theirs="ln_final"),
        **_blocks(state, prefix="transformer.resblocks.", names=OPEN_CLIP_BLOCK),
    }
    tower.load_state_dict(loaded, strict=True)
    return tower.eval()


def _bert_tower(holder: Any) -> TextTower:
    config = holder.config
    _refuse_unless(config.model_type == "bert", "a BERT text tower")
    _refuse_unless(config.hidden_act == "gelu", "a BERT text tower with gelu")
    _refuse_unless(type(holder.pooler).__name__ == "MeanPooler", "a BERT text tower pooled by mean")
    projection = getattr(holder, "proj", None)
    _refuse_unless(isinstance(projection, nn.Identity), "a BERT text tower without projection")
    shape = TextShape(
        transformer=TransformerShape(
            width=config.hidden_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            hidden=config.intermediate_size,
            norm_first=False,
            norm_epsilon=config.layer_norm_eps,
        ),
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        pooling="mean",
        embedding_norm=True,
        projection=None,
    )
    tower = TextTower(shape)
    state = holder.transformer.state_dict()
    embeddings = "embeddings."
    loaded = {
        "token_embedding.weight": state[f"{embeddings}word_embeddings.weight"],
        "position_embedding.weight": state[f"{embeddings}position_embeddings.weight"],
        "segment_embedding.weight": state[f"{embeddings}token_type_embeddings.weight"],
        **_norm(state, ours="norm", theirs=f"{embeddings}LayerNorm"),
        **_blocks(state, prefix="encoder.layer.", names=BERT_BLOCK),
    }
    tower.load_state_dict(loaded, strict=True)
    return tower.eval()


def _clip_shape(transformer: Any, *, causal: bool) -> TransformerShape:
    block = transformer.resblocks[0]
    activation = type(block.mlp.gelu).__name__
    names: dict[str, Activation] = {"GELU": "gelu", "QuickGELU": "quick_gelu"}
    _refuse_unless(activation in names, "GELU or QuickGELU")
    return TransformerShape(
        width=transformer.width,
        layers=transformer.layers,
        heads=block.attn.num_heads,
        hidden=block.mlp.c_fc.out_features,
        activation=names[activation],
        norm_epsilon=block.ln_1.eps,
        causal=causal,
    )


def _blocks(state: State, *, prefix: str, names: BlockNames) -> dict[str, Tensor]:
    """Every block's weights under our names."""
    loaded: dict[str, Tensor] = {}
    indices = {int(name[len(prefix) :].split(".")[0]) for name in state if name.startswith(prefix)}
    for index in sorted(indices):
        theirs, ours = f"{prefix}{index}.", f"stack.blocks.{index}."
        loaded |= _attention(state, ours=ours, theirs=theirs, attention=names.attention)
        for field in ("out", "attention_norm", "widen", "narrow", "mlp_norm"):
            source = f"{theirs}{getattr(names, field)}"
            loaded |= _norm(state, ours=f"{ours}{field}", theirs=source)
    return loaded


def _attention(
    state: State, *, ours: str, theirs: str, attention: str | tuple[str, str, str]
) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = {}
    for position, part in enumerate(("query", "key", "value")):
        for kind in ("weight", "bias"):
            if isinstance(attention, str):
                tensor = state[f"{theirs}{attention}{kind}"].chunk(3)[position]
            else:
                tensor = state[f"{theirs}{attention[position]}.{kind}"]
            loaded[f"{ours}{part}.{kind}"] = tensor
    return loaded


def _norm(state: State, *, ours: str, theirs: str) -> dict[str, Tensor]:
    """Weight and bias of one module (a norm or a linear)."""
    return {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for kind in ("weight", "bias")}


def _refuse_layer_scale(transformer: Any) -> None:
    scaled = any(".ls_" in name for name in transformer.state_dict())
    _refuse_unless(not scaled, "blocks without layer scale")


def _refuse_unless(condition: bool, wanted: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not condition:
        raise SettingsError(f"this reference model isn't supported: expected {wanted}")
