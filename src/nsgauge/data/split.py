"""Which side of the split a triple is on: a function of its content, a salt and nothing else.

All answers to one item, and all items with one image, stay together: a random split of triples
would let a classifier recognise the item instead of the failure.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import quote

from pydantic import Field, model_validator

from nsgauge.settings import Settings

_ROUNDING = 1e-9


class Side(StrEnum):
    """The four sides: learnt from, selected on, calibrated on, reported on."""

    TRAIN = "train"
    VALIDATION = "validation"
    CALIBRATION = "calibration"
    TEST = "test"


class SplitSettings(Settings):
    """Shares of the groups, as probabilities; what is left is the training side."""

    salt: str = "nsgauge"
    """Another salt is another split; keep one salt for as long as results are compared."""
    validation: float = Field(0.1, ge=0, lt=1)
    """Share of the groups to select and set thresholds on."""
    calibration: float = Field(0.1, ge=0, lt=1)
    """Share of the groups to fit the calibrator on."""
    test: float = Field(0.2, ge=0, lt=1)
    """Share of the groups that only a report may see."""
    fold: int = Field(0, ge=0)
    """Which part of the groups is the test side: with a fifth to test, folds 0 to 4 test each group
    once."""
    unseen_vllms: tuple[str, ...] = ()
    """VLLMs whose answers only a report may see, whatever their item."""

    @model_validator(mode="after")
    def _leaves_a_training_side(self) -> "SplitSettings":
        held_out = self.validation + self.calibration + self.test
        if held_out >= 1:
            raise ValueError(
                f"validation, calibration and test take {held_out:.3g} of the groups and leave "
                "none to train on: their sum must be below 1"
            )
        if (self.fold + 1) * self.test > 1 + _ROUNDING:
            raise ValueError(
                f"fold {self.fold} of {self.test:.3g} of the groups overlaps fold 0: there are "
                f"{int((1 + _ROUNDING) / self.test)} folds, counted from 0"
            )
        return self


def item_key(benchmark: str, item_id: str) -> str:
    """One text for an item of a benchmark; different pairs never share one.

    Example:
        >>> item_key("SIUO", "S-01/a")
        'SIUO/S-01/a'
    """
    return f"{quote(benchmark, safe='')}/{item_id}"


def group_keys(item_keys: Sequence[str], *, image_digests: Sequence[str | None]) -> list[str]:
    """Per row, the key of its group: rows that share an item or an image, directly or in a chain.

    The key is the smallest name in the group, where images are named before items. So row order
    doesn't matter, and a new item with a known image falls to that image's side.

    Args:
        item_keys: Per row, as `item_key` gives it.
        image_digests: Per row, the image's SHA-256; None where there is none.

    Raises:
        ValueError: the two differ in length.

    Example:
        >>> group_keys(["b/1", "b/2", "b/3"], image_digests=["f0", "f0", None])
        ['image:f0', 'image:f0', 'item:b/3']
    """
    if len(item_keys) != len(image_digests):
        raise ValueError(
            f"{len(item_keys)} items but {len(image_digests)} images: one of each a row"
        )
    parents: dict[str, str] = {}
    items = [f"item:{key}" for key in item_keys]
    for item, digest in zip(items, image_digests, strict=True):
        parents.setdefault(item, item)
        if digest is not None:
            _join(parents, item, f"image:{digest}")
    return [_root(parents, item) for item in items]


def assign_sides(
    keys: Sequence[str], *, settings: SplitSettings, vllms: Sequence[str] | None = None
) -> list[Side]:
    """Per group key, its side; the same key and settings give the same side in any company.

    The test side is drawn first: the other fractions may change without moving a row into it or
    out of it.

    Args:
        keys: Per row, as `group_keys` gives them.
        settings: Of the split.
        vllms: Per row, who answered; None leaves `unseen_vllms` out of account.

    Raises:
        ValueError: keys and VLLMs differ in length.
    """
    sides = {key: _side(key, settings=settings) for key in set(keys)}
    of_keys = [sides[key] for key in keys]
    if vllms is None:
        return of_keys
    unseen = set(settings.unseen_vllms)
    return [
        Side.TEST if vllm in unseen else side for vllm, side in zip(vllms, of_keys, strict=True)
    ]


def assign_parts(keys: Sequence[str], *, settings: SplitSettings, parts: int) -> list[int]:
    """Per group key, one of `parts` parts of like size, numbered from 0; for cross-fitting.

    Args:
        keys: Per row, as `group_keys` gives them.
        settings: Of the split, whose salt decides here too.
        parts: At least 1.
    """
    of_group = {key: int(_draw(f"{settings.salt}:part:{key}") * parts) for key in set(keys)}
    return [of_group[key] for key in keys]


def _side(key: str, *, settings: SplitSettings) -> Side:
    draw = (_draw(f"{settings.salt}:{key}") - settings.fold * settings.test) % 1.0
    bound = 0.0
    for side in (Side.TEST, Side.CALIBRATION, Side.VALIDATION):
        bound += getattr(settings, side)
        if draw < bound:
            return side
    return Side.TRAIN


def _draw(text: str) -> float:
    """A number in [0, 1) that the text alone decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _root(parents: dict[str, str], name: str) -> str:
    root = name
    while parents[root] != root:
        root = parents[root]
    while parents[name] != root:
        parents[name], name = root, parents[name]
    return root


def _join(parents: dict[str, str], left: str, right: str) -> None:
    """Make one group of two; its smallest name is its root."""
    parents.setdefault(right, right)
    low, high = sorted((_root(parents, left), _root(parents, right)))
    parents[high] = low
