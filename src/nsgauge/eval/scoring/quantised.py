"""Scoring in int8 on a CPU: what reads text, in ONNX Runtime, behind a parity gate.

The image tower stays in fp32: every picture is encoded once, and its vectors are kept for runs in
either arithmetic.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import torch

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.tables import iter_triples, read_verdicts
from nsgauge.data.targets import judge_counts, labels_of
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.controls import drawn
from nsgauge.eval.scoring.int8_tower import QuantisedTower
from nsgauge.eval.scoring.parity import Parity, parity
from nsgauge.eval.scoring.runner import Resources, engine_of
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.models.network import Network
from nsgauge.records import TRIPLES_SCHEMA

GATE_ROWS = 1000
ROWS_READ_AT_ONCE = 8192


def quantised(bundle: Bundle, *, narrow: bool = True) -> Bundle:
    """The same classifier with text tower and language model in int8; the one given stays.

    Args:
        bundle: As loaded, on the CPU.
        narrow: As `QuantisedTower` has it.

    Raises:
        ScoringError: a package is missing, or the classifier isn't on the CPU.
    """
    network = bundle.network
    if next(network.parameters()).device.type != "cpu":
        raise ScoringError("int8 is for CPUs: leave --precision out, or pass --device cpu")
    pooled = not network.pools_tokens
    tower = QuantisedTower(network.text_tower, pooled=pooled, narrow=narrow)
    language = bundle.towers.language
    if language is not None:
        language = replace(
            language, tower=QuantisedTower(language.tower, pooled=False, narrow=narrow)
        )
    towers = replace(bundle.towers, text=tower, language=language)
    # Its own members are never used: no memory for them, and no random numbers.
    with torch.device("meta"):
        other = Network(towers, settings=network.settings)
    other.members = network.members
    return replace(bundle, network=other.eval().requires_grad_(requires_grad=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A classifier in int8, and how far it is from the one in fp32.

    Attributes:
        bundle: Which may be scored with.
        parity: Its own.
        narrow: Whether all that can be is in int8, or the products that end the MLPs are in fp32.
    """

    bundle: Bundle
    parity: Parity
    narrow: bool

    def lines(self) -> list[str]:
        """In words."""
        kept = [] if self.narrow else ["int8, but for the products that end the MLPs"]
        return [*kept, *self.parity.lines()]


def compared_int8(bundle: Bundle, *, data: Path, rows: int = GATE_ROWS, seed: int = 0) -> Compared:
    """A classifier in int8, compared with itself in fp32 on rows of the data.

    What most of the error comes from stays in fp32 if the whole in int8 doesn't pass.

    Args:
        bundle: As loaded.
        data: What is to be scored; the AUROC is against its first teacher there.
        rows: How many of its triples are scored both ways, at most.
        seed: Of their draw.

    Raises:
        ScoringError: as `quantised`.
        DataError: the data folder can't be read.
    """
    triples = _drawn(data, rows=rows, seed=seed)
    settings, resources = ScoringSettings(), Resources(device="cpu")

    def scores(of: Bundle) -> pa.Table:
        engine = engine_of(of, data=data, settings=settings, resources=resources)
        return engine.score_table(triples)

    verdicts = read_verdicts(data)
    known = judge_counts(verdicts)
    judge = next((name for name in bundle.manifest.training.judges if name in known), None)
    labels = None if judge is None else labels_of(verdicts, judge=judge)
    exact = scores(bundle)

    def compared(*, narrow: bool) -> Compared:
        cheaper = quantised(bundle, narrow=narrow)
        found = parity(exact, cheaper=scores(cheaper), labels=labels)
        return Compared(bundle=cheaper, parity=found, narrow=narrow)

    whole = compared(narrow=True)
    return whole if whole.parity.passed else compared(narrow=False)


def gated_int8(bundle: Bundle, *, data: Path, rows: int = GATE_ROWS, seed: int = 0) -> Compared:
    """As `compared_int8`, but refused unless it passes.

    Raises:
        ScoringError: verdicts flip or the AUROC falls beyond the limits (the message is the
            report), or as `compared_int8`.
        DataError: as `compared_int8`.
    """
    compared = compared_int8(bundle, data=data, rows=rows, seed=seed)
    if not compared.parity.passed:
        report = "; ".join(compared.lines())
        raise ScoringError(f"int8 refused: {report}: score in fp32 (leave --precision out)")
    return compared


def _drawn(data: Path, *, rows: int, seed: int) -> pa.Table:
    """Triples of a data folder, drawn as those of the control runs are."""
    kept = TRIPLES_SCHEMA.empty_table()
    for table in iter_triples(data, rows=ROWS_READ_AT_ONCE):
        kept = drawn(pa.concat_tables([kept, table]), limit=rows, seed=seed)
    return kept
