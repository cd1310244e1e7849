"""The door to peft: low-rank adapters on the towers' linears and 1x1 convolutions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from pydantic import Field
from torch import Tensor, nn

from nsgauge.settings import Settings

ADAPTER = "default"


class LoraSettings(Settings):
    """Low-rank adapters (Hu et al. 2021): W + (alpha / rank) B A."""

    rank: int = Field(8, ge=1, le=1024)
    alpha: int = Field(16, ge=1, le=2**20)
    dropout: float = Field(0.0, ge=0, lt=1)
    image: bool = True
    text: bool = True


def add_lora(tower: nn.Module, *, settings: LoraSettings) -> None:
    """Freeze a tower and put trainable adapters on its linears and 1x1 convolutions, in place."""
    targets = adaptable(tower)
    tower.requires_grad_(requires_grad=False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        bias="none",
    )
    inject_adapter_in_model(config, tower, adapter_name=ADAPTER)


@contextmanager
def adapters_off(tower: nn.Module) -> Iterator[None]:
    """The tower without its adapters for a while, which spares their time."""
    layers = [module for module in tower.modules() if isinstance(module, LoraLayer)]
    # peft freezes an adapter that it switches off, and thaws every one that it switches on.
    trainable = [(parameter, parameter.requires_grad) for parameter in tower.parameters()]
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)
        for parameter, wanted in trainable:
            parameter.requires_grad_(wanted)


def adaptable(tower: nn.Module) -> list[str]:
    """Names of the modules that take an adapter: linears, and convolutions that are linears."""
    return [
        name
        for name, module in tower.named_modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1)
    ]


def lora_state(tower: nn.Module) -> dict[str, Tensor]:
    """The adapters' weights alone, by their name in the adapted tower."""
    return {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in tower.state_dict().items()
        if ".lora_" in name
    }


def load_lora(tower: nn.Module, *, state: Mapping[str, Tensor]) -> None:
    """Put saved adapter weights into a tower that `add_lora` prepared.

    Raises:
        ValueError: names or shapes differ from the tower's.
    """
    expected = lora_state(tower)
    if expected.keys() != state.keys():
        missing = sorted(expected.keys() - state.keys())[:3]
        surplus = sorted(state.keys() - expected.keys())[:3]
        raise ValueError(f"adapter weights don't fit: missing {missing}, unknown {surplus}")
    for name, tensor in expected.items():
        if tensor.shape != state[name].shape:
            raise ValueError(
                f"adapter {name}: shape {tuple(state[name].shape)}, wanted {tuple(tensor.shape)}"
            )
    tower.load_state_dict(dict(state), strict=False)


def merge_lora(tower: nn.Module) -> None:
    """Fold the adapters into the base weights and remove them, in place; exact only in fp32.

    Raises:
        ValueError: the tower isn't in fp32 (merging in bf16 loses twice as much as casting after).
    """
    for name, module in list(tower.named_modules()):
        if not isinstance(module, LoraLayer):
            continue
        base = module.get_base_layer()
        if next(base.parameters()).dtype is not torch.float32:
            raise ValueError("merge adapters in fp32, then cast")
        cast("Any", module).merge(safe_merge=True)
        parent, _, attribute = name.rpartition(".")
        setattr(tower.get_submodule(parent), attribute, base)
