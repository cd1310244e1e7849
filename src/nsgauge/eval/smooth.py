"""Smooth ECE: calibration error without bins, at the one width that the error itself picks."""

import numpy as np
from jaxtyping import Float, Int
from scipy import fft

CELLS_OF_UNIT = 1024
"""Resolution of [0, 1]; widths of practical interest are ten times a cell or more."""

_HALVINGS = 16


def smooth_ece(masses: Float[np.ndarray, "draws grid"]) -> Float[np.ndarray, " draws"]:
    """The width at which the smoothed error equals the width, for each row of `masses`.

    Args:
        masses: Per cell of [0, 1], the sum of (label - probability) over the rows there, divided by
            the number of rows; see `cell_of`.

    Returns:
        In [0, 1], within 2^-16.

    The reflected Gaussian on [0, 1] is the heat kernel with insulated ends, so smoothing is a
    damping of cosine coefficients.

    Source: Blasiok and Nakkiran 2023, "Smooth ECE: Principled Reliability Diagrams via Kernel
    Smoothing", definition 3 and the reflected kernel of section 4.
    """
    waves = np.asarray(fft.dct(masses, type=2, axis=1, norm="ortho"))
    low, high = np.zeros(len(masses)), np.ones(len(masses))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        wider = smoothed_error(waves, width=middle) > middle
        low, high = np.where(wider, middle, low), np.where(wider, high, middle)
    return np.asarray((low + high) / 2)


def smoothed_error(
    waves: Float[np.ndarray, "draws grid"], *, width: Float[np.ndarray, " draws"]
) -> Float[np.ndarray, " draws"]:
    """The integral of the smoothed residual's size; it falls as the width grows."""
    frequency = np.pi * np.arange(waves.shape[1])
    damping = np.exp(-0.5 * (width[:, None] * frequency) ** 2)
    smoothed = np.asarray(fft.idct(waves * damping, type=2, axis=1, norm="ortho"))
    return np.asarray(np.abs(smoothed).sum(axis=1))


def cell_of(probability: Float[np.ndarray, " values"]) -> Int[np.ndarray, " values"]:
    """The cell of [0, 1] that each probability falls into."""
    return np.minimum((probability * CELLS_OF_UNIT).astype(np.int64), CELLS_OF_UNIT - 1)
