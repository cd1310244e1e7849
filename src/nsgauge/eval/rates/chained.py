"""The rates that people would give: classifier and judge on the way to a few of their labels."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from nsgauge.eval.census import census_rates
from nsgauge.eval.draws import Draw
from nsgauge.eval.plus_two import FLAT
from nsgauge.eval.rate_table import RateEstimate, RateTable, rate_table
from nsgauge.eval.rates.corrected import status_of, with_intervals, with_labels
from nsgauge.eval.rates.designs import (
    Design,
    SimpleRandom,
    Unequal,
    draw_of,
    fault_of,
    items_of,
    trusted,
)
from nsgauge.eval.rates.greg import greg_cells
from nsgauge.eval.rates.pools import Cells, Labels
from nsgauge.eval.rates.two_hops import Relay, two_hops
from nsgauge.protocol import Rate, rate_weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """Who said what of a pool.

    Attributes:
        people: Their labels, of a simple random part of what the judge saw.
        judge: The judge's labels.
        scores: The classifier's cells of every row; None without a classifier.
        design: How the judged rows were drawn.
    """

    people: Labels
    judge: Labels
    scores: Cells | None
    design: Design


def chained_rates(chain: Chain, *, confidence: float) -> RateTable:
    """The rates that people would give of the whole pool.

    Args:
        chain: Who said what.
        confidence: Of each interval, in (0, 1).

    Raises:
        ValueError: people labelled no row, or one that the judge didn't see.
    """
    people, judge = chain.people, chain.judge
    if people.known.shape != judge.known.shape:
        raise ValueError(f"{len(people.known)} rows of people's labels, {len(judge.known)} judged")
    lost = np.flatnonzero(people.known & ~judge.known)
    if lost.size:
        raise ValueError(f"row {lost[0]}: people labelled it and the judge didn't: leave it out")
    if not people.known.any():
        raise ValueError("no row has people's label: leave `human` out, or give some")
    if people.known.all():
        items = items_of(chain.design)
        return census_rates(people.cells, naive=chain.scores, clusters=items, confidence=confidence)
    fault = None if judge.known.all() else fault_of(chain.design, judged=judge.known)
    hops = _Hops.of(chain, fault=fault)
    done = f"labelled by people, {len(judge.cells)} judged"
    standing = status_of(hops.draw, labels=len(people.cells), fault=fault, done=done)

    def estimate(rate: Rate, value: float) -> RateEstimate:
        weights, positive = rate_weights(rate), people.cells @ rate_weights(rate)
        bare = RateEstimate(
            rate=rate,
            value=value,
            rows=len(judge.known),
            judged=len(judge.cells),
            human=len(people.cells),
            positives=round(float(positive.sum())),
            naive=None if chain.scores is None else float((chain.scores @ weights).mean()),
            judge_only=float(hops.weights @ (judge.cells @ weights) / hops.weights.sum()),
            human_only=float(hops.draw.weights @ positive / hops.draw.weights.sum()),
            status=standing[0],
            note=standing[1],
        )
        if fault is not None or hops.draw.draws < 2:
            return bare
        return _with_spread(bare, relay=hops.relay(chain, rate=rate), confidence=confidence)

    return rate_table(hops.shares(chain), estimate=estimate)


def _with_spread(bare: RateEstimate, *, relay: Relay, confidence: float) -> RateEstimate:
    found = two_hops(relay)
    known = with_labels(bare, positive=relay.human, draw=relay.draw, spread=found.spread)
    known = replace(known, correlation=found.explained**0.5, hop_shares=found.hop_shares)
    return with_intervals(known, spread=found.spread, confidence=confidence)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Hops:
    """How the two samples were drawn.

    Attributes:
        first: How the judge's rows came out of the pool; None where it saw all.
        draw: How the rows that people labelled came out of the pool, through both hops.
        asked: Which of the judged rows people labelled.
        drawn: Probability that they labelled a judged row.
    """

    first: Draw | None
    draw: Draw
    asked: Bool[np.ndarray, " judged"]
    drawn: float

    @classmethod
    def of(cls, chain: Chain, *, fault: str | None) -> "_Hops":
        judged, items = chain.judge.known, items_of(chain.design)
        asked = chain.people.known[judged]
        design = trusted(chain.design, fault=fault)
        first = None if judged.all() else draw_of(design, judged=judged)
        drawn = 1.0
        if not asked.all():
            second = SimpleRandom(items=None if items is None else items[judged])
            drawn = 1 - float(draw_of(second, judged=asked).missed[0])
        chances = np.full(len(judged), np.nan)
        chances[judged] = drawn if first is None else drawn * _chances(first)
        whole = Unequal(probability=chances, items=items)
        return cls(
            first=first, draw=draw_of(whole, judged=chain.people.known), asked=asked, drawn=drawn
        )

    @property
    def weights(self) -> Float[np.ndarray, " judged"]:
        """How many rows of the pool each judged row speaks for."""
        return np.ones(len(self.asked)) if self.first is None else self.first.weights

    def shares(self, chain: Chain) -> Float[np.ndarray, " cells"]:
        """The share of each cell: people's labels, regressed on judge and classifier at once."""
        judge, people = chain.judge, chain.people
        rows = len(judge.known)
        scores = np.zeros((rows, 0)) if chain.scores is None else chain.scores
        said = judge.cells.mean(axis=0)
        if self.first is not None:
            said = greg_cells(
                judge.cells,
                signals=scores[judge.known],
                rest=scores[~judge.known].sum(axis=0),
                draw=self.first,
            )
        known = judge.cells[self.asked]
        return greg_cells(
            people.cells,
            signals=np.hstack([scores[people.known], known]),
            rest=np.append(scores[~people.known].sum(axis=0), rows * said - known.sum(axis=0)),
            draw=self.draw,
        )

    def relay(self, chain: Chain, *, rate: Rate) -> Relay:
        """One rate along the two hops."""
        judged = chain.judge.known
        scores = np.zeros((len(judged), 0)) if chain.scores is None else chain.scores
        shares = _telling(scores, rate=rate)
        return Relay(
            human=chain.people.cells @ rate_weights(rate),
            asked=self.asked,
            judge=_telling(chain.judge.cells, rate=rate),
            classifier=shares[judged],
            classifier_mean=float(shares.mean()),
            weights=self.weights,
            missed=np.zeros(len(self.asked)) if self.first is None else 1 - _chances(self.first),
            drawn=self.drawn,
            draw=self.draw,
        )


def _telling(cells: Cells, *, rate: Rate) -> Float[np.ndarray, " rows"]:
    """What counts towards the rate; where nobody spoke of it, what they say on the other axis.

    People's labels are regressed on it, so that it needn't mean the same.
    """
    if cells.shape[1] == 0:
        return np.zeros(len(cells))
    for each in (rate, Rate.UNSAFE, Rate.NOT_GROUNDED):
        share = cells @ rate_weights(each)
        if float(share.std()) > FLAT:
            return np.asarray(share)
    return np.asarray(share)


def _chances(first: Draw) -> Float[np.ndarray, " judged"]:
    """With what probability each judged row's item was judged; 1 where it stands for no other."""
    return np.where(first.stands_for > 0, 1 - first.missed, 1.0)
