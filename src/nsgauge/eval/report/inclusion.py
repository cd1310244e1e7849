"""With what probability a judge saw the rows that a classifier has not seen."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from nsgauge.eval.report.columns import EVEN, JudgeColumns, ScoreColumns


def over_rounds(
    probability: Float[np.ndarray, " rows"], *, round_: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """With what probability each row is among those drawn, rounds of a plan together.

    Rounds that were even, each, are one even draw. Otherwise the earlier ones are taken as they
    are, so that their rows were certain to be drawn and stand for no other, and the last stands for
    all that it could draw from (see `nsgauge.eval.plan`).

    Args:
        probability: As each row was drawn, given the rounds before; NaN where it wasn't.
        round_: From 1; of rows that weren't drawn, anything.
    """
    drawn = ~np.isnan(probability)
    rounds = np.unique(round_[drawn])
    if rounds.size < 2:
        return probability
    found = probability.copy()
    each = [probability[drawn & (round_ == number)] for number in rounds]
    if all(some.max() <= EVEN * some.min() for some in each):
        found[drawn] = 1 - np.prod([1 - some.mean() for some in each])
    else:
        found[drawn & (round_ < rounds[-1])] = 1.0
    return found


def among_unseen(
    judge: JudgeColumns, *, scores: ScoreColumns, item: Int[np.ndarray, " rows"]
) -> JudgeColumns:
    """The judge's columns, with the probabilities that hold among the rows not seen.

    A classifier that learned from the drawn rows has seen the items of most of them, and of the
    others none: among the items that it hasn't seen, drawn ones are rarer than in the draw. With a
    drawn item left unseen with probability a, and an item that wasn't drawn with probability b, a
    row drawn with probability p, its item with q, is among the unseen ones with

        p a / (q a + (1 - q) b)

    where a and b are the shares of these items that are unseen: what becomes of an item when the
    data are split doesn't hang on what its rows hold.

    Args:
        judge: Its columns; nothing changes where the classifier has seen none of the drawn items,
            or all, or where no row was drawn with a declared probability.
        scores: Say which items were seen.
        item: Per row, its item.
    """
    # Rows that were certain to be drawn stay so; a round may have been drawn after the training.
    drawn = judge.asked & (judge.inclusion < 1)
    before = judge.asked & (judge.inclusion == 1)
    codes = np.unique(item, return_inverse=True)[1].reshape(-1)
    unseen = np.bincount(codes, weights=scores.item_seen) == 0
    rows_drawn = np.bincount(codes, weights=drawn)
    some = rows_drawn > 0
    if not some.any() or unseen[some].all() or not unseen[some].any():
        return judge
    kept = float(unseen[some].mean())
    others = ~some & (np.bincount(codes, weights=before) == 0)
    spared = float(unseen[others].mean()) if others.any() else 1.0
    sizes = np.bincount(codes, weights=scores.scored | drawn)
    chance = np.where(drawn, judge.inclusion, 1.0)
    of_item = chance
    if (rows_drawn != sizes)[some].any():
        # Rows were drawn, not items: an item is drawn with the first of its rows.
        of_item = 1 - (1 - chance) ** sizes[codes]
    among = chance * kept / (of_item * kept + (1 - of_item) * spared)
    return replace(judge, inclusion=np.where(drawn, np.minimum(among, 1.0), judge.inclusion))
