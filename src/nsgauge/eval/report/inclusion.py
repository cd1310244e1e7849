"""With what probability a judge saw the rows that a classifier has not seen."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from nsgauge.eval.report.columns import JudgeColumns, ScoreColumns


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
    drawn = judge.asked & ~np.isnan(judge.inclusion)
    codes = np.unique(item, return_inverse=True)[1].reshape(-1)
    unseen = np.bincount(codes, weights=scores.item_seen) == 0
    rows_drawn = np.bincount(codes, weights=drawn)
    some = rows_drawn > 0
    if not some.any() or unseen[some].all() or not unseen[some].any():
        return judge
    kept = float(unseen[some].mean())
    spared = float(unseen[~some].mean()) if not some.all() else 1.0
    sizes = np.bincount(codes, weights=scores.scored | drawn)
    chance = np.where(drawn, judge.inclusion, 1.0)
    of_item = chance
    if (rows_drawn != sizes)[some].any():
        # Rows were drawn, not items: an item is drawn with the first of its rows.
        of_item = 1 - (1 - chance) ** sizes[codes]
    among = chance * kept / (of_item * kept + (1 - of_item) * spared)
    return replace(judge, inclusion=np.where(drawn, np.minimum(among, 1.0), np.nan))
