"""After training: a calibrator from rows neither trained nor selected on, and thresholds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import logsumexp

from nsgauge.models.calibrator import Calibrator
from nsgauge.protocol import observation_cells
from nsgauge.train.recipe import ThresholdTarget

# Below this many rows a calibrator is noise, and the logits stay as they are.
ROWS_NEEDED = 50
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFit:
    """The chosen calibrator and what each candidate cost.

    Attributes:
        calibrator: Fitted on all calibration rows.
        rows: How many those were.
        losses: Cross-validated mean log-loss of each method, nats.
    """

    calibrator: Calibrator
    rows: int
    losses: dict[str, float]


def fit_calibrator(
    logits: Float[np.ndarray, "rows cells"],
    *,
    masses: Float[np.ndarray, "rows observations"],
    generator: np.random.Generator,
) -> CalibrationFit:
    """Choose identity, temperature or bias-corrected temperature by cross-validated log-loss.

    Args:
        logits: Uncalibrated, of rows neither trained nor selected on.
        masses: Their targets.
        generator: Deals the folds.
    """
    rows = len(logits)
    if rows < ROWS_NEEDED:
        return CalibrationFit(calibrator=Calibrator(), rows=rows, losses={})
    folds = generator.permutation(rows) % FOLDS
    losses = {
        method: float(
            np.mean(
                [
                    _loss(
                        _fit(logits[folds != fold], masses=masses[folds != fold], method=method),
                        logits=logits[folds == fold],
                        masses=masses[folds == fold],
                    )
                    for fold in range(FOLDS)
                ]
            )
        )
        for method in ("identity", "temperature", "bias_corrected")
    }
    best = min(losses, key=losses.__getitem__)
    calibrator = _calibrator(_fit(logits, masses=masses, method=best), method=best)
    return CalibrationFit(calibrator=calibrator, rows=rows, losses=losses)


def choose_threshold(
    probability: Float[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    target: ThresholdTarget,
) -> float:
    """The threshold t for verdicts `probability >= t` that meets the target on validation rows.

    Args:
        probability: Calibrated, in [0, 1].
        positive: The teacher's label.
        target: What is wanted.

    Returns:
        In (0, 1]; 0.5 where the rows hold one class only and nothing can be chosen.
    """
    if positive.all() or not positive.any():
        return 0.5
    order = np.argsort(-probability, kind="stable")
    ranked, hits = probability[order], np.cumsum(positive[order])
    called = np.arange(1, len(ranked) + 1)
    # Only the last row of a run of equal probabilities can be cut after.
    is_cut = np.append(ranked[1:] < ranked[:-1], True)
    if target.target == "f1":
        quality = 2 * hits / (called + positive.sum())
    elif target.target == "equal_rates":
        quality = -np.abs(called - positive.sum()).astype(float)
    else:
        reached = hits / called >= (target.precision or 1.0)
        quality = np.where(reached, called, -1.0)
    quality = np.where(is_cut, quality, -np.inf)
    best = int(np.argmax(quality))
    if quality[best] < 0 and target.target == "precision":
        return 1.0
    below = float(ranked[best + 1]) if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


def _fit(
    logits: Float[np.ndarray, "rows cells"],
    *,
    masses: Float[np.ndarray, "rows observations"],
    method: str,
) -> Float[np.ndarray, " parameters"]:
    """log(scale) and the four shifts; those that a method doesn't have stay zero."""
    free = {"identity": 0, "temperature": 1, "bias_corrected": 5}[method]
    parameters = np.zeros(5)
    if free == 0:
        return parameters

    def objective(values: Float[np.ndarray, " free"]) -> float:
        full = np.concatenate([values, np.zeros(5 - free)])
        # A weak pull to the identity keeps a cell that never occurs from running off.
        return _loss(full, logits=logits, masses=masses) + 1e-3 * float(values @ values)

    parameters[:free] = minimize(objective, np.zeros(free), method="L-BFGS-B").x
    return parameters


def _loss(
    parameters: Float[np.ndarray, " parameters"],
    *,
    logits: Float[np.ndarray, "rows cells"],
    masses: Float[np.ndarray, "rows observations"],
) -> float:
    shifted = np.exp(parameters[0]) * logits.astype(np.float64) + parameters[1:]
    log_cells = shifted - logsumexp(shifted, axis=1, keepdims=True)
    blocked = np.where(observation_cells(), 0.0, -np.inf)
    log_observations = logsumexp(log_cells[:, None, :] + blocked, axis=2)
    return float(-(masses * log_observations).sum(axis=1).mean())


def _calibrator(parameters: Float[np.ndarray, " parameters"], *, method: str) -> Calibrator:
    scale, shift = float(np.exp(parameters[0])), [float(value) for value in parameters[1:]]
    return Calibrator.model_validate({"method": method, "scale": scale, "shift": tuple(shift)})
