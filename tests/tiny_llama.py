"""A tiny Llama with a byte-level vocabulary, as transformers has it and as a GGUF file."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaModel

LAYERS, WIDTH, HEADS, KEY_HEADS, HIDDEN, BASE = 3, 48, 6, 2, 64, 10_000.0
CONTEXT = 512
# A power of two: the file keeps it in fp32.
EPSILON = 2**-17
TOKENS = ["<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "it"]
"""Two turns, every byte, and a word of two letters."""


def tiny_llama() -> LlamaModel:
    """Grouped heads, small; weights that all count."""
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        intermediate_size=HIDDEN,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": BASE},
        rms_norm_eps=EPSILON,
    )
    model: LlamaModel = LlamaModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(1)
    return model


def in_pairs(weight: np.ndarray, *, heads: int) -> np.ndarray:
    """llama.cpp's order of a projection's rows: the two numbers of a turned pair side by side."""
    depth = len(weight) // heads
    order = [
        head * depth + half * depth // 2 + number
        for head in range(heads)
        for number in range(depth // 2)
        for half in range(2)
    ]
    return weight[order]


def write_gguf(
    path: Path, *, model: LlamaModel, architecture: str = "llama", split: str = "smollm"
) -> None:
    """The model as llama.cpp would keep it, half of the MLP in blocks of eight bits."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(BASE)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(TOKENS)
    writer.add_token_merges(["i t"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    for name, tensor in model.state_dict().items():
        numbers = tensor.numpy()
        for part, heads in (("q_proj", HEADS), ("k_proj", KEY_HEADS)):
            if part in name:
                numbers = in_pairs(numbers, heads=heads)
        stored = names.get_name(f"model.{name}", try_suffixes=(".weight",))
        assert stored is not None
        kind: Any = None
        if "down_proj" in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            numbers = gguf.quantize(numbers, kind)
        writer.add_tensor(stored, numbers, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
