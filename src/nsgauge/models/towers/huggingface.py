"""BERT-like text towers from Hugging Face configurations and weights."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from nsgauge.errors import SettingsError
from nsgauge.models.towers.text import TextShape, TextTower
from nsgauge.models.towers.transformer import TransformerShape
from nsgauge.models.towers.weights import (
    BERT_BLOCK,
    MPNET_BLOCK,
    State,
    block_weights,
    module_weights,
    refuse_unless,
)

# The id of padding, in MPNet's first code and in transformers': its row of the position table and
# those before it are never used, a text's first token has the position after it.
MPNET_PADDING = 1
# Of the bias by distance; transformers computes with this number whatever a configuration says.
MPNET_BUCKETS = 32


def bert_tower(holder: Any, *, layers: int | None) -> TextTower:
    """Our tower from open_clip's text encoder around a BERT, its first `layers` or all.

    Raises:
        SettingsError: an encoder of another kind, or it has fewer layers.
    """
    config = holder.config
    refuse_unless(config.model_type == "bert", "a BERT text tower")
    refuse_unless(type(holder.pooler).__name__ == "MeanPooler", "a BERT text tower pooled by mean")
    projection = getattr(holder, "proj", None)
    refuse_unless(isinstance(projection, nn.Identity), "a BERT text tower without projection")
    configuration = config.to_dict()
    state = holder.transformer.state_dict()
    tower = TextTower(
        TextShape(
            transformer=_transformer(configuration, layers=layers, distance_buckets=0),
            vocabulary=config.vocab_size,
            context=config.max_position_embeddings,
            pooling="mean",
            embedding_norm=True,
            projection=None,
        )
    )
    loaded = {
        "token_embedding.weight": state["embeddings.word_embeddings.weight"],
        "position_embedding.weight": state["embeddings.position_embeddings.weight"],
        "segment_embedding.weight": state["embeddings.token_type_embeddings.weight"],
        **module_weights(state, ours="norm", theirs="embeddings.LayerNorm"),
        **block_weights(state, prefix="encoder.layer.", names=BERT_BLOCK, layers=layers),
    }
    tower.load_state_dict(loaded, strict=True)
    return tower.eval()


def mpnet_tower(configuration: Mapping[str, Any], *, state: State, layers: int | None) -> TextTower:
    """Our tower, pooled by mean, from transformers' MPNetModel: its first `layers` or all.

    Args:
        configuration: The model's `config.json`.
        state: Its weights; may be mapped from a file, only what is used is read.
        layers: See above.

    Raises:
        SettingsError: a model of another kind, or it has fewer layers.
    """
    refuse_unless(configuration.get("model_type") == "mpnet", "an MPNet text tower")
    try:
        buckets = configuration["relative_attention_num_buckets"]
        refuse_unless(buckets == MPNET_BUCKETS, f"MPNet with {MPNET_BUCKETS} classes of distances")
        positions = state["embeddings.position_embeddings.weight"][MPNET_PADDING + 1 :]
        tokens = state["embeddings.word_embeddings.weight"]
        tower = TextTower(
            TextShape(
                transformer=_transformer(configuration, layers=layers, distance_buckets=buckets),
                vocabulary=tokens.shape[0],
                context=positions.shape[0],
                pooling="mean",
                embedding_norm=True,
                segments=False,
                projection=None,
            )
        )
        loaded = {
            "token_embedding.weight": tokens,
            "position_embedding.weight": positions,
            "stack.distance_bias.weight": state["encoder.relative_attention_bias.weight"],
            **module_weights(state, ours="norm", theirs="embeddings.LayerNorm"),
            **block_weights(state, prefix="encoder.layer.", names=MPNET_BLOCK, layers=layers),
        }
        tower.load_state_dict(loaded, strict=True)
    except (KeyError, TypeError, RuntimeError) as error:
        fault = " ".join(str(error).split())
        raise SettingsError(
            f"MPNet's configuration and weights don't fit each other ({fault}): take config.json "
            "and model.safetensors of one model"
        ) from error
    return tower.eval()


def _transformer(
    configuration: Mapping[str, Any], *, layers: int | None, distance_buckets: int
) -> TransformerShape:
    """The shape of BERT's or MPNet's stack, which have the same block.

    Raises:
        SettingsError: another activation, or fewer layers than asked for.
    """
    kind, has = configuration["model_type"], configuration["num_hidden_layers"]
    refuse_unless(configuration["hidden_act"] == "gelu", f"a {kind} text tower with gelu")
    if layers is not None and layers > has:
        raise SettingsError(f"text_layers is {layers}, but this {kind} text tower has {has} layers")
    return TransformerShape(
        width=configuration["hidden_size"],
        layers=has if layers is None else layers,
        heads=configuration["num_attention_heads"],
        hidden=configuration["intermediate_size"],
        norm_first=False,
        norm_epsilon=configuration["layer_norm_eps"],
        distance_buckets=distance_buckets,
    )
