"""Where a network runs, in what shapes and precision, and what its vectors depend on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.images import DECODING
from nsgauge.errors import SettingsError
from nsgauge.eval.scoring.memory import Budget
from nsgauge.eval.scoring.settings import Precision
from nsgauge.models.network import Network
from nsgauge.models.towers.fixed import (
    CompileOptions,
    FixedTower,
    compile_options,
    takes_offsets,
)
from nsgauge.models.towers.text import TextTower


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much one forward holds.

    Attributes:
        tokens: Of windows of any lengths, at most.
        short_tokens: Of short windows of one length, about.
        images: Exactly.
    """

    tokens: int
    short_tokens: int
    images: int


SIZES = {
    "cpu": Sizes(tokens=1024, short_tokens=256, images=16),
    "cuda": Sizes(tokens=65_536, short_tokens=8192, images=256),
}
"""By kind of device: what fits a processor's caches, and what fills a GPU."""


def sizes_on(kind: str) -> Sizes:
    """What suits a kind of device."""
    return SIZES.get(kind, SIZES["cpu"])


def placed(
    network: Network, *, budgets: Sequence[Budget], precision: Precision, compiled: bool
) -> str:
    """Bring the towers into the precision and the shapes of a run, in place.

    Args:
        network: On its device.
        budgets: Of the text tower's forwards and of the language model's.
        precision: What was asked for.
        compiled: Whether to compile the towers.

    Returns:
        What vectors depend on for it.

    Raises:
        SettingsError: the towers can't be compiled like this.
    """
    on_cuda = next(network.parameters()).device.type == "cuda"
    if precision == "auto":
        precision = "bf16" if on_cuda else "fp32"
    half = precision == "bf16"
    if compiled:
        refuse_uncompilable(on_cuda=on_cuda, precision=precision)
    if not compiled:
        loosen(network)
    if half:
        halve(network)
    if on_cuda and half:
        texts, exchanges = budgets
        options = compile_options() if compiled else None
        fix_shapes(network, texts=texts, exchanges=exchanges, compiled=options)
    return f"{precision}, compiled" if compiled else precision


def refuse_uncompilable(*, on_cuda: bool, precision: Precision) -> None:
    """Of what was asked for, whatever can't be compiled.

    Raises:
        SettingsError: the towers won't be on CUDA in bf16.
    """
    if not on_cuda or precision not in ("auto", "bf16"):
        raise SettingsError("--compile is for CUDA in bf16: leave it out here")


def fix_shapes(
    network: Network, *, texts: Budget, exchanges: Budget, compiled: CompileOptions | None
) -> None:
    """Have the towers read in a few shapes, in place; a text tower that can't is left as it is.

    Args:
        network: On its device, in half precision if that is CUDA.
        texts: Of the text tower's forwards.
        exchanges: Of the language model's.
        compiled: How to compile every forward, the image tower's too; None for none.

    Raises:
        SettingsError: a tower can't be compiled.
    """
    text, language = network.text_tower, network.language_tower
    network.text_tower = _fixed(text, budget=texts, longest=text.shape.context, compiled=compiled)
    settings = network.settings.channels.language
    if language is not None and settings is not None:
        network.language_tower = _fixed(
            language, budget=exchanges, longest=settings.window_tokens, compiled=compiled
        )
    if compiled is not None:
        network.image_tower.compile(**compiled)


def loosen(network: Network) -> None:
    """Undo what `fix_shapes` did for an engine before this one, in place."""
    if isinstance(network.text_tower, FixedTower):
        network.text_tower = network.text_tower.tower
    if isinstance(network.language_tower, FixedTower):
        network.language_tower = network.language_tower.tower
    # What `compile` set; torch has no way back by name.
    network.image_tower._compiled_call_impl = None


def _fixed(
    tower: TextTower, *, budget: Budget, longest: int, compiled: CompileOptions | None
) -> TextTower:
    plain = tower
    if isinstance(tower, FixedTower):
        # An engine before this one has fixed it, and may have compiled it.
        if tower.compiled == compiled:
            tower.room = budget.room
            return tower
        plain = tower.tower
    if takes_offsets(plain):
        return FixedTower(plain, room=budget.room, longest=longest, compiled=compiled)
    if compiled is not None:
        raise SettingsError(
            "a text tower with a bias of distances (MPNet) can't be compiled: leave --compile out"
        )
    return plain


def halve(network: Network) -> None:
    """Round the towers' weights to bf16; pixels are still normalised in fp32."""
    tower = network.image_tower
    mean, std = tower.mean, tower.std
    for half in (tower, network.text_tower, network.language_tower):
        if half is not None:
            half.to(torch.bfloat16)
    tower.mean, tower.std = mean, std


def device_of(name: str | None) -> torch.device:
    """A device by torch's name; None takes CUDA where there is one.

    Raises:
        SettingsError: torch has no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {name!r} can't be used here; try cpu, or leave it out") from (
            error
        )


def vector_keys(bundle: Bundle) -> tuple[str, str]:
    """Everything that an image vector, and a text vector, depends on beside its content."""
    manifest = bundle.manifest
    towers = (manifest.tower_fingerprint, manifest.preset.model_dump_json())
    adapters, lora = manifest.files["lora.safetensors"], manifest.network.lora
    pools = manifest.files["heads.safetensors"] if bundle.network.pools_tokens else "no pools"
    image = ("image", *towers, DECODING, adapters if lora.image else "no adapters")
    # A tower of another kind stands in where the text is read in int8, or in fixed shapes.
    tower = bundle.network.text_tower
    kind = (type(tower).__name__, tower.arithmetic)
    text = ("text", *kind, *towers, adapters if lora.text else "no adapters", pools)
    return "\n".join(image), "\n".join(text)
