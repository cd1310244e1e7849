"""Distils an LLM judge's verdicts on vision-language models into a small classifier."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsgauge.errors import NsgaugeError
    from nsgauge.eval.rates import SimpleRandom, Stratified, Undeclared, Unequal, estimate_rates
    from nsgauge.eval.scoring.classifier import Classifier, Scores
    from nsgauge.records import Score, Triple, Verdict

__version__ = version("nsgauge")
__all__ = [
    "Classifier",
    "NsgaugeError",
    "Score",
    "Scores",
    "SimpleRandom",
    "Stratified",
    "Triple",
    "Undeclared",
    "Unequal",
    "Verdict",
    "estimate_rates",
]

# Imported when first asked for: reading a report, or asking for help, must not load torch.
_HOMES = {
    "Classifier": "nsgauge.eval.scoring.classifier",
    "NsgaugeError": "nsgauge.errors",
    "Score": "nsgauge.records",
    "Scores": "nsgauge.eval.scoring.classifier",
    "SimpleRandom": "nsgauge.eval.rates",
    "Stratified": "nsgauge.eval.rates",
    "Triple": "nsgauge.records",
    "Undeclared": "nsgauge.eval.rates",
    "Unequal": "nsgauge.eval.rates",
    "Verdict": "nsgauge.records",
    "estimate_rates": "nsgauge.eval.rates",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
