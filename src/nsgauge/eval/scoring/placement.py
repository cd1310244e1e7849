"""Where a network runs, in what precision, and what its vectors depend on."""

import torch

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.images import DECODING
from nsgauge.errors import SettingsError
from nsgauge.models.network import Network


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
    # A tower of another kind stands in where the text is read in int8.
    kind = type(bundle.network.text_tower).__name__
    text = ("text", kind, *towers, adapters if lora.text else "no adapters", pools)
    return "\n".join(image), "\n".join(text)
