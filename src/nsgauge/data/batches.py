"""Batches for training: shuffled, with the rows of one image in small blocks."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def shuffled_batches(
    image_keys: Sequence[str | None],
    *,
    rows_per_batch: int,
    rows_per_image: int,
    generator: np.random.Generator,
) -> list[list[int]]:
    """Every row once, in random batches that need few distinct images.

    Rows of one image are dealt in random blocks of `rows_per_image`; rows without an image are
    blocks of one. Blocks are shuffled and laid end to end, so only the last batch may be short.

    Args:
        image_keys: Per row, what image it shows; None for none.
        rows_per_batch: Rows in a batch.
        rows_per_image: Rows of one image that lie together.
        generator: The only source of randomness.
    """
    by_image: dict[str, list[int]] = defaultdict(list)
    blocks: list[list[int]] = []
    for row, key in enumerate(image_keys):
        if key is None:
            blocks.append([row])
        else:
            by_image[key].append(row)
    for rows in by_image.values():
        shuffled = generator.permutation(rows).tolist()
        blocks += [
            shuffled[start : start + rows_per_image]
            for start in range(0, len(shuffled), rows_per_image)
        ]
    order = [row for index in generator.permutation(len(blocks)) for row in blocks[index]]
    return [order[start : start + rows_per_batch] for start in range(0, len(order), rows_per_batch)]
