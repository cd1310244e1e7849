"""Llama text towers: a small language model's first layers, or all, from its own weights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from nsgauge.errors import SettingsError
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.models.towers.weights import State, refuse_unless

# Ours, and transformers' LlamaModel's, within a block.
_NAMES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "gate": "mlp.gate_proj",
    "widen": "mlp.up_proj",
    "narrow": "mlp.down_proj",
    "mlp_norm": "post_attention_layernorm",
}


def llama_tower(
    configuration: Mapping[str, Any],
    *,
    state: State,
    layers: int | None,
    likelihoods: bool = False,
) -> TextTower:
    """Our tower, pooled by mean, from transformers' LlamaModel: its first `layers` or all.

    Without its last layer it ends without a norm, as transformers' `hidden_states` do.

    Args:
        configuration: The model's `config.json`.
        state: Its weights; may be read from a file as they are asked for.
        layers: See above.
        likelihoods: Have the tower say, too, how likely each token was, which takes all layers;
            for a model whose token embedding tells the next token.

    Raises:
        SettingsError: a model of another kind, or it has fewer layers.
    """
    refuse_unless(configuration.get("model_type") == "llama", "a Llama text tower")
    try:
        shape = _shape(configuration, layers=layers)
        if likelihoods:
            refuse_unless("lm_head.weight" not in state, "a Llama whose embedding tells tokens")
            shape = _saying_likelihoods(shape, layers=configuration["num_hidden_layers"])
        loaded = {"token_embedding.weight": state["embed_tokens.weight"]}
        if shape.final_norm:
            loaded["norm.weight"] = state["norm.weight"]
        for index in range(shape.transformer.layers):
            loaded |= _block(state, index=index)
        tower = TextTower(shape)
        tower.load_state_dict(loaded, strict=True)
    except (KeyError, TypeError, RuntimeError) as error:
        fault = " ".join(str(error).split())
        raise SettingsError(
            f"a Llama's configuration and weights don't fit each other ({fault}): take both of "
            "one model"
        ) from error
    return tower.eval()


def _shape(configuration: Mapping[str, Any], *, layers: int | None) -> TextShape:
    has = configuration["num_hidden_layers"]
    refuse_unless(configuration["hidden_act"] == "silu", "a Llama text tower with silu")
    refuse_unless(not configuration["rope_scaling"], "a Llama whose positions aren't stretched")
    if layers is not None and layers > has:
        raise SettingsError(f"text_layers is {layers}, but this llama text tower has {has} layers")
    heads, width = configuration["num_attention_heads"], configuration["hidden_size"]
    refuse_unless(width % heads == 0, "a Llama whose heads divide its width")
    return TextShape(
        transformer=TransformerShape(
            width=width,
            layers=has if layers is None else layers,
            heads=heads,
            hidden=configuration["intermediate_size"],
            activation="silu",
            norm_epsilon=configuration["rms_norm_eps"],
            causal=True,
            key_heads=configuration["num_key_value_heads"],
            rotary_base=int(configuration["rope_theta"]),
            llama=True,
        ),
        vocabulary=configuration["vocab_size"],
        context=configuration["max_position_embeddings"],
        pooling="mean",
        embedding_norm=False,
        projection=None,
        final_norm=layers in (None, has),
    )


def _saying_likelihoods(shape: TextShape, *, layers: int) -> TextShape:
    """The same with all its layers."""
    return replace(
        shape,
        transformer=replace(shape.transformer, layers=layers),
        final_norm=True,
        taken_after=shape.transformer.layers,
    )


def _block(state: State, *, index: int) -> dict[str, Tensor]:
    return {
        f"stack.blocks.{index}.{ours}.weight": state[f"layers.{index}.{theirs}.weight"]
        for ours, theirs in _NAMES.items()
    }
