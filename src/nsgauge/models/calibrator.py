"""The calibrator: four-cell probabilities from the network's logits."""

from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field
from scipy.special import softmax

from nsgauge.settings import Settings

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Calibrator(Settings):
    """softmax(scale * logits + shift): identity, temperature or bias-corrected temperature.

    Source: temperature scaling, Guo et al. 2017, eq. 9; the bias-corrected form (BCTS),
    Alexandari et al. 2020, section 3.
    """

    method: Literal["identity", "temperature", "bias_corrected"] = "identity"
    scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    shift: tuple[Finite, Finite, Finite, Finite] = (0.0, 0.0, 0.0, 0.0)

    def probabilities(
        self, logits: Float[np.ndarray, "rows cells"]
    ) -> Float[np.ndarray, "rows cells"]:
        """Calibrated probabilities of the four cells, in float64; each row sums to one."""
        return np.asarray(
            softmax(self.scale * logits.astype(np.float64) + np.asarray(self.shift), axis=1)
        )
