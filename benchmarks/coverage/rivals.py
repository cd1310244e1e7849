"""The same intervals by ppi-python: classical and PPI++ (`pip install ppi-python`; 309 MB)."""

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float

Ends = tuple[float, float]
Rival = Callable[
    [Float[np.ndarray, " judged"], Float[np.ndarray, " judged"], Float[np.ndarray, " unjudged"]],
    Ends,
]


def rivals() -> dict[str, Rival]:
    """By name; none where ppi-python isn't installed."""
    if find_spec("ppi_py") is None:
        return {}
    with warnings.catch_warnings():
        # It changes the user's warning filters when it is imported.
        ppi_py = import_module("ppi_py")

    def classical(
        positive: Float[np.ndarray, " judged"],
        judged: Float[np.ndarray, " judged"],
        unjudged: Float[np.ndarray, " unjudged"],
    ) -> Ends:
        del judged, unjudged
        low, high = ppi_py.classical_mean_ci(positive, alpha=0.05)
        return float(low), float(high)

    def ppi(
        positive: Float[np.ndarray, " judged"],
        judged: Float[np.ndarray, " judged"],
        unjudged: Float[np.ndarray, " unjudged"],
    ) -> Ends:
        low, high = ppi_py.ppi_mean_ci(positive, judged, unjudged, alpha=0.05)
        return float(np.squeeze(low)), float(np.squeeze(high))

    return {"classical": classical, "ppi++": ppi}
