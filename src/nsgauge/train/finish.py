"""What is decided once the weights stand: the calibrator, and a threshold per axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from nsgauge.checkpoints.manifest import ThresholdChoice
from nsgauge.data.split import Side, item_key
from nsgauge.models.calibrator import Calibrator
from nsgauge.models.network import Network
from nsgauge.protocol import Rate, rate_shares
from nsgauge.train.axes import AXES, AxisQuality, axis_labels, axis_quality
from nsgauge.train.calibrate import fit_calibrator, threshold_choice
from nsgauge.train.corpus import Corpus
from nsgauge.train.features import CorpusVectors, corpus_logits, held_out_logits
from nsgauge.train.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What is decided once the weights stand.

    Attributes:
        calibrator: From logits to probabilities.
        thresholds: By axis.
        quality: By axis, of the rows that thresholds were chosen on.
        calibration_losses: What each candidate of the calibrator cost.
    """

    calibrator: Calibrator
    thresholds: dict[Rate, ThresholdChoice]
    quality: dict[Rate, AxisQuality]
    calibration_losses: dict[str, float]


def decided(
    network: Network, *, corpus: Corpus, vectors: CorpusVectors | None, recipe: Recipe
) -> Finish:
    """Calibrate on the calibration side, then choose thresholds on validation.

    A committee does both on all that it learned from, each row decided by the one member that
    didn't learn from it. On new rows all members decide together, which is a little surer than one:
    calibrator and thresholds are for logits that are as good as these, or better.
    """
    if recipe.committee > 1:
        held = validation = corpus.rows_of(Side.TRAIN)
        held_logits = logits = held_out_logits(network, corpus=corpus, rows=held, vectors=vectors)
    else:
        held, validation = (corpus.rows_of(side) for side in (Side.CALIBRATION, Side.VALIDATION))
        held_logits, logits = (
            corpus_logits(network, corpus=corpus, rows=rows, vectors=vectors)
            for rows in (held, validation)
        )
    calibration = fit_calibrator(
        held_logits,
        masses=corpus.masses[held].astype(np.float64),
        generator=np.random.default_rng(recipe.seed),
        clusters=_items(corpus, rows=held),
    )
    cells = calibration.calibrator.probabilities(logits)
    items = _items(corpus, rows=validation)
    chosen: dict[Rate, ThresholdChoice] = {}
    quality: dict[Rate, AxisQuality] = {}
    for axis in AXES:
        positive, known = axis_labels(corpus.masses[validation], rate=axis)
        probability = rate_shares(cells, rate=axis)[known]
        labels = positive[known]
        chosen[axis] = threshold_choice(
            probability,
            positive=labels,
            target=getattr(recipe.thresholds, axis),
            clusters=items[known],
            calibrated=bool(calibration.losses),
        )
        threshold = chosen[axis].threshold
        quality[axis] = axis_quality(probability, positive=labels, threshold=threshold)
    return Finish(
        calibrator=calibration.calibrator,
        thresholds=chosen,
        quality=quality,
        calibration_losses=calibration.losses,
    )


def _items(corpus: Corpus, *, rows: Sequence[int]) -> Shaped[np.ndarray, " rows"]:
    """Keys of the rows' items."""
    triples = [corpus.triples[row] for row in rows]
    return np.array([item_key(triple.benchmark, triple.item_id) for triple in triples])
