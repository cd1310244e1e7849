"""What others would run on the same texts and pictures, with random weights of the true shapes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from benchmarks.scoring import world

LOOP_BATCH = 256
"""clip-retrieval's default."""
GUARD_WORDS = 150
"""Of Llama Guard's own prompt, about: its list of hazards and the instruction."""


def transformers_text(model: Any) -> Callable[[Tensor], Tensor]:
    """Hugging Face's CLIP text model with the weights of open_clip's ViT-B/32."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection  # noqa: PLC0415 - a peer

    config = CLIPTextConfig(
        vocab_size=49_408,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=8,
        projection_dim=512,
        max_position_embeddings=77,
        hidden_act="gelu",
        eos_token_id=49_407,
    )
    peer: Any = CLIPTextModelWithProjection(config)
    peer.eval()
    state, theirs = model.state_dict(), dict(peer.named_parameters())
    names = {
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.final_layer_norm.weight": state["ln_final.weight"],
        "text_model.final_layer_norm.bias": state["ln_final.bias"],
        "text_projection.weight": state["text_projection"].T,
    }
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc"}
    parts |= {"mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
    for layer in range(12):
        ours, prefix = f"text_model.encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            for name, source in parts.items():
                names[f"{ours}{name}.{kind}"] = state[f"{prefix}{source}.{kind}"]
            fused = state[f"{prefix}attn.in_proj_{kind}"].chunk(3)
            for name, chunk in zip(("q_proj", "k_proj", "v_proj"), fused, strict=True):
                names[f"{ours}self_attn.{name}.{kind}"] = chunk
    with torch.no_grad():
        for name, parameter in theirs.items():
            known = name if name in names else f"text_model.{name}"
            parameter.copy_(names[known])
    weights = next(iter(state.values()))
    peer.to(weights.device, weights.dtype)
    return lambda ids: peer(input_ids=ids).text_embeds


def open_clip_loop(
    table: pa.Table, *, folder: Path, device: str, dtype: torch.dtype
) -> Callable[[], np.ndarray]:
    """What clip-retrieval's workers do: decode, tokenize, encode, for every row, batch by batch.

    Responses beyond 77 tokens are cut off, so that it reads less than we do.

    Source: rom1504/clip-retrieval, `clip_inference` (reader, mapper), with open_clip.
    """
    import open_clip  # noqa: PLC0415 - a peer

    torch.manual_seed(0)
    model: Any
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    model = model.eval().to(device, dtype)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")

    def batches() -> Iterator[pa.Table]:
        for start in range(0, table.num_rows, LOOP_BATCH):
            yield table.slice(start, LOOP_BATCH)

    @torch.inference_mode()
    def run() -> np.ndarray:
        kept = []
        for batch in batches():
            paths = batch["image"].to_pylist()
            pixels = torch.stack([preprocess(Image.open(folder / path)) for path in paths])
            read = [model.encode_image(pixels.to(device, dtype))]
            read += [
                model.encode_text(tokenizer(batch[name].to_pylist()).to(device))
                for name in ("prompt", "response")
            ]
            kept.append(torch.cat(read, dim=1).float().cpu().numpy())
        return np.concatenate(kept)

    return run


def guard(*, device: str, dtype: torch.dtype, small: bool) -> Callable[[int], Tensor]:
    """Llama-Guard-3-11B-Vision's shape: reads a picture, its own prompt and one exchange a row.

    Returns:
        Given how many rows, one prefill of them; each row has a picture of one tile and the tokens
        of a mean triple.

    Source: meta-llama/Llama-Guard-3-11B-Vision (Mllama), its published configuration.
    """
    from transformers import MllamaConfig, MllamaForConditionalGeneration  # noqa: PLC0415 - a peer

    vision: dict[str, object] = {"image_size": 560}
    text: dict[str, object] = {"vocab_size": 128_256}
    if small:
        vision |= {"hidden_size": 32, "attention_heads": 2, "intermediate_size": 64}
        vision |= {"num_hidden_layers": 2, "num_global_layers": 1, "image_size": 56}
        vision |= {"intermediate_layers_indices": [0], "vision_output_dim": 64}
        text |= {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
        text |= {"num_hidden_layers": 2, "intermediate_size": 64, "cross_attention_layers": [1]}
    config: Any = MllamaConfig(vision_config=vision, text_config=text)
    # Eleven billion random numbers are drawn where they are used.
    with torch.device(device):
        made = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model: Any = MllamaForConditionalGeneration(config)
        finally:
            torch.set_default_dtype(made)
    model.eval()
    drawn = np.random.default_rng(0)
    tokens = GUARD_WORDS + 30 + int(np.mean(world.response_tokens(1000, generator=drawn)))
    side, tiles = config.vision_config.image_size, config.vision_config.max_num_tiles

    @torch.inference_mode()
    def prefill(rows: int) -> Tensor:
        mask = torch.zeros(rows, tokens, 1, tiles, dtype=torch.int64, device=device)
        mask[..., 0] = 1
        told: Tensor = model(
            input_ids=torch.randint(1000, (rows, tokens), device=device),
            pixel_values=torch.randn(rows, 1, tiles, 3, side, side, device=device, dtype=dtype),
            aspect_ratio_ids=torch.ones(rows, 1, dtype=torch.int64, device=device),
            aspect_ratio_mask=torch.tensor([[[1] + [0] * (tiles - 1)]] * rows, device=device),
            cross_attention_mask=mask,
            logits_to_keep=1,
        ).logits
        return told

    return prefill
