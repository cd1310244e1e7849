"""The door to gguf: a language model in llama.cpp's file format, as transformers would name it."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nsgauge.errors import SettingsError, installing
from nsgauge.models.tokenizer import TextTokenizer

# The file's names, and transformers'.
_OUTSIDE = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "lm_head.weight",
}
_INSIDE = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
# How SmolLM's tokenizer splits a text; others would need another.
SPLIT = "smollm"


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufModel:
    """What a GGUF file holds of a Llama.

    Attributes:
        configuration: As its `config.json` would have it.
        state: Weights by transformers' names, in fp32, each read when it is asked for.
        tokenizer: Its own.
    """

    configuration: dict[str, Any]
    state: Mapping[str, Tensor]
    tokenizer: TextTokenizer


def read_gguf(path: Path) -> GgufModel:
    """Read a Llama from a GGUF file.

    Raises:
        SettingsError: the package gguf isn't installed, or the file holds something else.
    """
    try:
        gguf = importlib.import_module("gguf")
    except ModuleNotFoundError as error:
        raise SettingsError(f"gguf isn't installed: {installing('gguf')}") from error
    try:
        reader = gguf.GGUFReader(path)
        told = {name: field.contents() for name, field in reader.fields.items()}
        return GgufModel(
            configuration=_configuration(told, path=path),
            state=_State(
                {tensor.name: tensor for tensor in reader.tensors},
                heads={
                    "self_attn.q_proj": told["llama.attention.head_count"],
                    "self_attn.k_proj": told["llama.attention.head_count_kv"],
                },
                exact=gguf.dequantize,
            ),
            tokenizer=TextTokenizer.chat(
                {token: index for index, token in enumerate(told["tokenizer.ggml.tokens"])},
                merges=[_pair(merge) for merge in told["tokenizer.ggml.merges"]],
            ),
        )
    except (KeyError, ValueError, IndexError, OSError) as error:
        fault = " ".join(str(error).split())
        raise SettingsError(f"{path}: not a Llama in GGUF ({fault})") from error


def _configuration(told: Mapping[str, Any], *, path: Path) -> dict[str, Any]:
    kind = (told["general.architecture"], told["tokenizer.ggml.pre"])
    if kind != ("llama", SPLIT):
        raise SettingsError(
            f"{path}: {kind[0]} with the tokenizer of {kind[1]}, expected llama with {SPLIT}"
        )
    return {
        "model_type": "llama",
        "hidden_act": "silu",
        "rope_scaling": told.get("llama.rope.scaling.type"),
        "num_hidden_layers": told["llama.block_count"],
        "num_attention_heads": told["llama.attention.head_count"],
        "num_key_value_heads": told["llama.attention.head_count_kv"],
        "hidden_size": told["llama.embedding_length"],
        "intermediate_size": told["llama.feed_forward_length"],
        "rms_norm_eps": told["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": told["llama.rope.freq_base"],
        "vocab_size": len(told["tokenizer.ggml.tokens"]),
        "max_position_embeddings": told["llama.context_length"],
    }


def _pair(merge: str) -> tuple[str, str]:
    first, second = merge.split(" ")
    return first, second


class _State(Mapping[str, Tensor]):
    """A file's tensors by transformers' names.

    Args:
        tensors: As the file has them.
        heads: Of the projections whose rows the file holds in another order.
        exact: From quantised blocks to numbers.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any],
        *,
        heads: Mapping[str, int],
        exact: Callable[[Any, Any], np.ndarray],
    ) -> None:
        self._tensors = {_name(own): tensor for own, tensor in tensors.items()}
        self._heads = heads
        self._exact = exact

    def __getitem__(self, name: str) -> Tensor:
        """One tensor.

        Raises:
            KeyError: the file has none of that name.
        """
        held = self._tensors[name]
        numbers = self._exact(held.data, held.tensor_type).astype(np.float32)
        for part, heads in self._heads.items():
            if f".{part}." in name:
                numbers = _halves(numbers, heads=heads)
        return torch.from_numpy(np.ascontiguousarray(numbers))

    def __iter__(self) -> Iterator[str]:
        """Names."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """How many tensors the file holds."""
        return len(self._tensors)


def _name(own: str) -> str:
    """What transformers calls a tensor of the file; as the file does where it has no name."""
    if own in _OUTSIDE:
        return _OUTSIDE[own]
    _, index, inside, *_ = [*own.split("."), "", "", ""]
    return f"layers.{index}.{_INSIDE[inside]}.weight" if inside in _INSIDE else own


def _halves(
    numbers: Float[np.ndarray, "rows width"], *, heads: int
) -> Float[np.ndarray, "rows width"]:
    """From llama.cpp's order, where a turned pair lies together, to transformers', in two halves.

    Source: `permute` in llama.cpp's convert_hf_to_gguf.py, the other way round.
    """
    split = numbers.reshape(heads, -1, 2, numbers.shape[1])
    return split.swapaxes(1, 2).reshape(numbers.shape)
