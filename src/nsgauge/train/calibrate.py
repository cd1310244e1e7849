"""After training: a calibrator from rows neither trained nor selected on, and thresholds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from scipy.special import logsumexp

from nsgauge.checkpoints.manifest import ThresholdChoice
from nsgauge.eval.clusters import Clusters, cluster_codes
from nsgauge.eval.intervals import clopper_pearson
from nsgauge.eval.threshold_check import effective_rows
from nsgauge.models.calibrator import Calibrator
from nsgauge.protocol import observation_cells
from nsgauge.train.recipe import ThresholdTarget

# Below this many rows a calibrator is noise, and the logits stay as they are.
ROWS_NEEDED = 50
_PRIOR_VARIANCE = 10.0
FOLDS = 5
# The ends of a two-sided 90% interval are one-sided 95% bounds.
TWO_SIDED = 0.9


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
    clusters: Clusters | None = None,
) -> CalibrationFit:
    """Choose identity, temperature or bias-corrected temperature by cross-validated log-loss.

    Args:
        logits: Uncalibrated, of rows neither trained nor selected on.
        masses: Their targets.
        generator: Deals the folds.
        clusters: Item ids: an item's rows stay in one fold, or what they share would be learned
            from some and rewarded on the others.
    """
    rows = len(logits)
    codes = cluster_codes(clusters, rows=rows)
    items = len(np.unique(codes))
    if rows < ROWS_NEEDED or items < FOLDS:
        return CalibrationFit(calibrator=Calibrator(), rows=rows, losses={})
    folds = (generator.permutation(items) % FOLDS)[codes]
    losses = {
        method: float(
            np.mean(
                [
                    _loss(
                        _fit(
                            logits[folds != fold],
                            masses=masses[folds != fold],
                            method=method,
                            items=len(np.unique(codes[folds != fold])),
                        ),
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
    calibrator = _calibrator(_fit(logits, masses=masses, method=best, items=items), method=best)
    return CalibrationFit(calibrator=calibrator, rows=rows, losses=losses)


def threshold_choice(
    probability: Float[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    target: ThresholdTarget,
    clusters: Clusters | None = None,
    calibrated: bool = True,
) -> ThresholdChoice:
    """The threshold t for verdicts `probability >= t` that meets the target on validation rows.

    For `f1` that of the greatest F1 to be expected of rows with these probabilities, which is half
    of that F1; the labels only tell what it gave. All other targets count, and so does this one
    where the probabilities aren't calibrated.

    Source: Lipton, Elkan and Naryanaswamy 2014 (arXiv 1402.1892), theorem 1; expected counts: Ye,
    Chai, Lee and Chieu 2012.

    Args:
        probability: In [0, 1].
        positive: The teacher's label.
        target: What is wanted.
        clusters: Item ids; the lower bounds then allow for rows that share an item.
        calibrated: Whether the probabilities are.

    Returns:
        The threshold with what it gave; 0.5, marked as not reached, where the rows hold one class
        only and nothing can be chosen.
    """
    threshold, reached = 0.5, False
    if positive.any() and not positive.all():
        cut, reached = _best_cut(
            probability, positive=positive, target=target, calibrated=calibrated
        )
        threshold = _between(probability, cut=cut)
    codes = cluster_codes(clusters, rows=len(positive))
    called = probability >= threshold
    return ThresholdChoice(
        target=target.target,
        wanted=target.wanted,
        reached=reached,
        threshold=threshold,
        rows=len(positive),
        positives=int(positive.sum()),
        called=int(called.sum()),
        hits=int((called & positive).sum()),
        precision_low=_lower_bound(positive[called], codes=codes[called]),
        recall_low=_lower_bound(called[positive], codes=codes[positive]),
    )


def _best_cut(
    probability: Float[np.ndarray, " rows"],
    *,
    positive: Bool[np.ndarray, " rows"],
    target: ThresholdTarget,
    calibrated: bool,
) -> tuple[float, bool]:
    """The least probability to call positive, and whether it meets the target."""
    order = np.argsort(-probability, kind="stable")
    # Only the last row of a run of equal probabilities can be cut after.
    last = np.flatnonzero(np.append(np.diff(probability[order]) < 0, True))
    cuts, hits = probability[order][last], np.cumsum(positive[order])[last]
    called, positives = last + 1, int(positive.sum())
    if target.target == "f1":
        # Of the hits to be expected, for those counted jump with every row of a rare class.
        good = np.cumsum(probability[order])[last] if calibrated else hits
        return float(cuts[np.argmax(2 * good / (called + good[-1]))]), True
    if target.target == "agreement":
        # Against calling none, which gets all positives wrong, a call is one right or one wrong.
        gained = 2 * hits - called
        return (float(cuts[np.argmax(gained)]) if gained.max() > 0 else 1.0), True
    if target.target == "equal_rates":
        gap = np.abs(called - positives)
        return float(cuts[np.argmin(gap)]), bool(gap.min() == 0)
    wanted = 1.0 if target.wanted is None else target.wanted
    if target.target == "recall":
        return float(cuts[np.argmax(hits / positives >= wanted)]), True
    precision = hits / called
    best = float(precision.max())
    return float(cuts[np.flatnonzero(precision >= min(wanted, best))[-1]]), best >= wanted


def _between(probability: Float[np.ndarray, " rows"], *, cut: float) -> float:
    """Half-way from the least probability called positive to the next one below it."""
    below = float(np.max(probability, where=probability < cut, initial=0.0))
    middle = (cut + below) / 2
    # Between two neighbouring floats there is nothing.
    return middle if middle > below else cut


def _lower_bound(
    found: Bool[np.ndarray, " rows"], *, codes: Int[np.ndarray, " rows"]
) -> float | None:
    """The share is not below this, one-sided 95%; None where fewer than two items hold the rows."""
    if len(np.unique(codes)) < 2:
        return None
    labels = found.astype(np.float64)
    rows = effective_rows(labels, codes=codes)
    return clopper_pearson(float(labels.mean()) * rows, rows=rows, confidence=TWO_SIDED).low


def _fit(
    logits: Float[np.ndarray, "rows cells"],
    *,
    masses: Float[np.ndarray, "rows observations"],
    method: str,
    items: int,
) -> Float[np.ndarray, " parameters"]:
    """log(scale) and the four shifts; those that a method doesn't have stay zero."""
    free = {"identity": 0, "temperature": 1, "bias_corrected": 5}[method]
    parameters = np.zeros(5)
    if free == 0:
        return parameters

    def objective(values: Float[np.ndarray, " free"]) -> float:
        full = np.concatenate([values, np.zeros(5 - free)])
        # A pull to the identity, that of one normal prior however many the items are, keeps a cell
        # that never occurs from running off.
        pull = float(values @ values) / (2 * _PRIOR_VARIANCE * items)
        return _loss(full, logits=logits, masses=masses) + pull

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
