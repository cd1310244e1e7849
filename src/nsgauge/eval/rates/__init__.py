"""The three rates of a pool, with intervals, from a few labels and anybody's classifier.

Two estimands stand side by side. Finite: what the judge would say of all N rows. Superpopulation:
what it would say of items like these. Statuses say which claims the labels can carry.
"""

from nsgauge.eval.rate_table import MINIMUM_JUDGED, RateEstimate, RateStatus, RateTable
from nsgauge.eval.rates.designs import Design, SimpleRandom, Stratified, Undeclared, Unequal
from nsgauge.eval.rates.estimate import estimate_rates

__all__ = [
    "MINIMUM_JUDGED",
    "Design",
    "RateEstimate",
    "RateStatus",
    "RateTable",
    "SimpleRandom",
    "Stratified",
    "Undeclared",
    "Unequal",
    "estimate_rates",
]
