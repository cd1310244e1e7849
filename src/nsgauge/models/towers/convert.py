"""Our towers from a reference model's weights."""

from typing import Any

from torch import Tensor, nn

from nsgauge.errors import SettingsError
from nsgauge.models.towers.huggingface import bert_tower
from nsgauge.models.towers.image import ConvTower, ImageTower, Normalisation, VitShape, VitTower
from nsgauge.models.towers.siglip import SiglipShape, SiglipTower
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.models.towers.weights import (
    OPEN_CLIP_BLOCK,
    TIMM_BLOCK,
    State,
    activation_of,
    block_weights,
    module_weights,
    refuse_layer_scale,
    refuse_unless,
    split_weights,
)


def image_tower(
    reference: nn.Module, *, normalisation: Normalisation, patch_grid: int
) -> ImageTower:
    """The image tower of an open_clip model: our ViTs, or its convolutional trunk as it is.

    Raises:
        SettingsError: a transformer of a kind that we have no tower for.
    """
    visual: Any = reference.get_submodule("visual")
    if not hasattr(visual, "trunk"):
        return _clip_vit(visual, normalisation=normalisation, patch_grid=patch_grid)
    trunk = visual.trunk
    refuse_unless(
        hasattr(trunk, "forward_features") and not list(visual.head.children()),
        "a timm trunk without a projection head",
    )
    if getattr(trunk, "attn_pool", None) is not None:
        return _siglip_vit(trunk, normalisation=normalisation, patch_grid=patch_grid)
    return ConvTower(trunk, normalisation=normalisation, patch_grid=patch_grid).eval()


def text_tower(reference: nn.Module, *, layers: int | None = None) -> TextTower:
    """The text tower of an open_clip model: BERT-like, causal CLIP text, or SigLIP text.

    Args:
        reference: The model.
        layers: Of a BERT-like tower, how many to take, from the first on; None takes all.

    Raises:
        SettingsError: a text tower of another kind, or `layers` are asked of one that can't stop
            there.
    """
    holder: Any = reference.get_submodule("text") if hasattr(reference, "text") else reference
    if hasattr(holder, "config"):
        return bert_tower(holder, layers=layers)
    if layers is not None:
        raise SettingsError(
            f"text_layers is {layers}, but this text tower is normed and projected after its last "
            "layer and can't stop before: leave text_layers out, or choose a BERT-like tower"
        )
    pool_type = getattr(holder, "pool_type", getattr(holder, "text_pool_type", None))
    padded = holder.attn_mask is None
    if padded:
        refuse_unless(pool_type == "last", "a causal text tower, or one that pools its last token")
    else:
        refuse_unless(pool_type == "argmax", "a causal text tower pooled at its end token")
    unmasked = not getattr(holder, "use_pad_mask", False)
    refuse_unless(unmasked and getattr(holder, "cls_emb", None) is None, "a plain text tower")
    return _clip_text(holder, padded=padded)


def _clip_vit(visual: Any, *, normalisation: Normalisation, patch_grid: int) -> VitTower:
    refuse_unless(visual.attn_pool is None, "a ViT without an attention pooler")
    refuse_unless(visual.pool_type == "tok", "a ViT pooled at its class token")
    state = visual.state_dict()
    refuse_layer_scale(state, mark=".ls_")
    shape = VitShape(
        transformer=_clip_shape(visual.transformer, causal=False),
        image_side_px=visual.image_size[0],
        patch_side_px=visual.patch_size[0],
        projection=visual.output_dim,
    )
    tower = VitTower(shape, normalisation=normalisation, patch_grid=patch_grid)
    loaded = {
        "patches.weight": state["conv1.weight"],
        "class_embedding": state["class_embedding"],
        "position_embedding": state["positional_embedding"],
        "projection.weight": state["proj"].T,
        **module_weights(state, ours="first_norm", theirs="ln_pre"),
        **module_weights(state, ours="last_norm", theirs="ln_post"),
        **block_weights(state, prefix="transformer.resblocks.", names=OPEN_CLIP_BLOCK),
    }
    tower.load_state_dict(loaded, strict=True)
    return tower.eval()


def _siglip_vit(trunk: Any, *, normalisation: Normalisation, patch_grid: int) -> SiglipTower:
    pool, state = trunk.attn_pool, trunk.state_dict()
    refuse_unless(getattr(trunk, "cls_token", None) is None, "SigLIP's ViT, without a class token")
    pooled = getattr(pool, "latent_len", 0) == 1 and pool.mlp is not None
    refuse_unless(pooled, "SigLIP's ViT, pooled by one query and an MLP")
    shape = SiglipShape(
        transformer=TransformerShape(
            width=trunk.embed_dim,
            layers=len(trunk.blocks),
            heads=trunk.blocks[0].attn.num_heads,
            hidden=trunk.blocks[0].mlp.fc1.out_features,
            activation=activation_of(trunk.blocks[0].mlp.act),
            norm_epsilon=trunk.norm.eps,
        ),
        image_side_px=trunk.patch_embed.img_size[0],
        patch_side_px=trunk.patch_embed.patch_size[0],
        pool_heads=pool.num_heads,
        pool_hidden=pool.mlp.fc1.out_features,
        pool_activation=activation_of(pool.mlp.act),
    )
    tower = SiglipTower(shape, normalisation=normalisation, patch_grid=patch_grid)
    # A part that we don't know (a register, a norm of the queries) would hold weights of its own.
    refuse_unless(_size(tower.state_dict()) == _size(state), "SigLIP's ViT, with no part added")
    loaded = {
        "position_embedding": state["pos_embed"][0],
        "pool.latent": state["attn_pool.latent"][0],
        **module_weights(state, ours="patches", theirs="patch_embed.proj"),
        **module_weights(state, ours="last_norm", theirs="norm"),
        **module_weights(state, ours="pool.query", theirs="attn_pool.q"),
        **split_weights(state, ours="pool.", theirs="attn_pool.kv.", parts=("key", "value")),
        **module_weights(state, ours="pool.out", theirs="attn_pool.proj"),
        **module_weights(state, ours="pool.mlp_norm", theirs="attn_pool.norm"),
        **module_weights(state, ours="pool.widen", theirs="attn_pool.mlp.fc1"),
        **module_weights(state, ours="pool.narrow", theirs="attn_pool.mlp.fc2"),
        **block_weights(state, prefix="blocks.", names=TIMM_BLOCK),
    }
    tower.load_state_dict(loaded, strict=True)
    return tower.eval()


def _clip_text(holder: Any, *, padded: bool) -> TextTower:
    state = holder.state_dict()
    refuse_layer_scale(state, mark=".ls_")
    projection = _projection(state)
    tower = TextTower(
        TextShape(
            transformer=_clip_shape(holder.transformer, causal=not padded),
            vocabulary=state["token_embedding.weight"].shape[0],
            context=state["positional_embedding"].shape[0],
            pooling="end",
            embedding_norm=False,
            projection=projection["projection.weight"].shape[0],
            projection_bias="projection.bias" in projection,
            padded=padded,
        )
    )
    loaded = {
        "token_embedding.weight": state["token_embedding.weight"],
        "position_embedding.weight": state["positional_embedding"],
        **projection,
        **module_weights(state, ours="norm", theirs="ln_final"),
        **block_weights(state, prefix="transformer.resblocks.", names=OPEN_CLIP_BLOCK),
    }
    tower.load_state_dict(loaded, strict=True)
    return tower.eval()


def _projection(state: State) -> dict[str, Tensor]:
    """A text projection, which open_clip holds as a matrix or, with a bias, as a linear."""
    if "text_projection" in state:
        return {"projection.weight": state["text_projection"].T}
    refuse_unless("text_projection.bias" in state, "a text tower with a projection")
    return module_weights(state, ours="projection", theirs="text_projection")


def _clip_shape(transformer: Any, *, causal: bool) -> TransformerShape:
    block = transformer.resblocks[0]
    return TransformerShape(
        width=transformer.width,
        layers=transformer.layers,
        heads=block.attn.num_heads,
        hidden=block.mlp.c_fc.out_features,
        activation=activation_of(block.mlp.gelu),
        norm_epsilon=block.ln_1.eps,
        causal=causal,
    )


def _size(state: State) -> int:
    return sum(tensor.numel() for tensor in state.values())
