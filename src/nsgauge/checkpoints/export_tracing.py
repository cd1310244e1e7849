"""A torch module as an ONNX file."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from nsgauge.models.towers.text import TextTower

# Layer norm and GELU are operators of their own from here on; runtimes since mid-2023 know it.
OPSET = 20


def write_graph(
    module: nn.Module,
    path: Path,
    *,
    inputs: Mapping[str, Tensor],
    axes: Mapping[str, tuple[str, ...]],
    output: str,
) -> None:
    """Export a module in eval mode as one file.

    Args:
        module: Takes the inputs by their names.
        path: Of the new file.
        inputs: Examples, by the names that the graph gives them.
        axes: Of each input, the names of its first axes; these may have any size.
        output: The output's name.
    """
    dimensions = {name: torch.export.Dim(name) for names in axes.values() for name in names}
    shapes = {
        key: {place: dimensions[name] for place, name in enumerate(axes[key])} for key in inputs
    }
    with _quietly(), torch.inference_mode():
        torch.onnx.export(
            module.eval(),
            (),
            path,
            kwargs=dict(inputs),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=shapes,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )


def text_inputs(tower: TextTower) -> dict[str, Tensor]:
    """Example windows: ids, segments and lengths."""
    context = tower.shape.context
    lengths = torch.tensor([context, context] if tower.shape.padded else [7, 5])
    segments = torch.zeros(2, int(lengths.max()), dtype=torch.int64)
    segments[:, 2:5] = 1
    return {"ids": torch.ones_like(segments), "segments": segments, "lengths": lengths}


TEXT_AXES = {
    "ids": ("windows", "length"),
    "segments": ("windows", "length"),
    "lengths": ("windows",),
}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says of axes that share a name, as ours do on purpose."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="# The axis name")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
