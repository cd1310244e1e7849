"""Fitting the linear probe."""

import numpy as np
import torch
from jaxtyping import Float

from nsgauge.models.probe import LinearProbe, ProbeSettings
from nsgauge.train.regression import regression

# A feature with fewer values tells items, not kinds: of a few rows' pictures, or of a role that no
# row has. Scaled by its small deviation it would decide alone on the next picture.
VALUES_NEEDED = 20
# A tower's dead channels hold 1e-32 and the like: brought to variance one, rounding would decide.
LEAST_DEVIATION = 1e-4


def fit_probe(
    features: Float[np.ndarray, "rows features"],
    *,
    shares: Float[np.ndarray, "rows classes"],
    settings: ProbeSettings,
) -> LinearProbe:
    """Learn what a row's vectors say of its class.

    Features are brought to mean zero and variance one for the fit; the probe takes them as they
    are. Left out are those with fewer values than `VALUES_NEEDED` (of few rows, than half of the
    rows), and those that deviate by less than `LEAST_DEVIATION` of the others' median. With none
    left the probe says how common each class is.

    Args:
        features: Of the training rows, as `nsgauge.models.probe.probe_features` has them.
        shares: How far each row belongs to each class; rows sum to one.
        settings: How strongly to regularise.

    Raises:
        DataError: the rows name one class only.
        ValueError: shares aren't distributions, one per row of the features.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    values = 1 + np.count_nonzero(np.diff(np.sort(features, axis=0), axis=0), axis=0)
    varied = values >= min(VALUES_NEEDED, max(2, len(features) // 2))
    if not varied.any():
        # Nothing to tell the rows apart by: it says how common each class is.
        probe = LinearProbe(settings, features=features.shape[1], classes=shares.shape[1])
        probe.bias.copy_(torch.from_numpy(np.log(np.maximum(shares.mean(axis=0), 1e-6))))
        return probe
    varied &= deviation > LEAST_DEVIATION * np.median(deviation[varied])
    scaled = (features[:, varied] - mean[varied]) / deviation[varied]
    weight, bias = regression(scaled, shares=shares, c=settings.c)
    weight /= torch.from_numpy(deviation[varied])[:, None]
    probe = LinearProbe(settings, features=features.shape[1], classes=shares.shape[1])
    probe.weight[torch.from_numpy(varied)] = weight
    probe.bias.copy_(bias - torch.from_numpy(mean[varied]) @ weight)
    return probe
