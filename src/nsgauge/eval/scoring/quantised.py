"""Scoring in int8 on a CPU: what reads text, in ONNX Runtime, behind a parity gate.

The image tower stays in fp32: every picture is encoded once, and its vectors are kept for runs in
either arithmetic.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from nsgauge.checkpoints.bundle import Bundle
from nsgauge.data.tables import iter_triples, read_verdicts
from nsgauge.data.targets import judge_counts, labels_of
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.controls import drawn
from nsgauge.eval.scoring.engine import Engine
from nsgauge.eval.scoring.int8_tower import QuantisedTower
from nsgauge.eval.scoring.parity import Parity, parity
from nsgauge.eval.scoring.runner import Resources, engine_of
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.models.network import Network
from nsgauge.models.towers.packing import Packed
from nsgauge.records import TRIPLES_SCHEMA

GATE_ROWS = 1000
SAMPLED_ROWS = 48
"""From which the scales of a careful int8 are taken."""
ROWS_READ_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Windows of the data: of the text tower, and of the language model where there is one."""

    texts: Packed
    exchanges: Packed | None


def quantised(bundle: Bundle, *, careful: Sample | None = None) -> Bundle:
    """The same classifier with text tower and language model in int8; the one given stays.

    Args:
        bundle: As loaded, on the CPU.
        careful: As `QuantisedTower` has it, for each.

    Raises:
        ScoringError: a package is missing, or the classifier isn't on the CPU.
    """
    network = bundle.network
    if next(network.parameters()).device.type != "cpu":
        raise ScoringError("int8 is for CPUs: leave --precision out, or pass --device cpu")
    tower = QuantisedTower(
        network.text_tower,
        pooled=not network.pools_tokens,
        careful=None if careful is None else careful.texts,
    )
    language = bundle.towers.language
    if language is not None:
        read = None if careful is None else careful.exchanges
        told = QuantisedTower(language.tower, pooled=False, careful=read)
        language = replace(language, tower=told)
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
        careful: Whether what most of the error comes from is in fp32 (`QuantisedTower`).
    """

    bundle: Bundle
    parity: Parity
    careful: bool

    def lines(self) -> list[str]:
        """In words."""
        kept = ["int8, but for the products that end the MLPs"] if self.careful else []
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

    engines = partial(engine_of, data=data, settings=settings, resources=resources)
    verdicts = read_verdicts(data)
    known = judge_counts(verdicts)
    judge = next((name for name in bundle.manifest.training.judges if name in known), None)
    labels = None if judge is None else labels_of(verdicts, judge=judge)
    engine = engines(bundle)
    exact = engine.score_table(triples)

    def compared(careful: Sample | None) -> Compared:
        cheaper = quantised(bundle, careful=careful)
        scores = engines(cheaper).score_table(triples)
        found = parity(exact, cheaper=scores, labels=labels)
        return Compared(bundle=cheaper, parity=found, careful=careful is not None)

    whole = compared(None)
    return whole if whole.parity.passed else compared(_sample(engine, triples=triples))


def _sample(engine: Engine, *, triples: pa.Table) -> Sample:
    """Windows of a few triples."""
    rows = engine.look(triples.slice(0, SAMPLED_ROWS))
    texts, exchanges = rows.texts.windows, rows.exchanges
    told = None if exchanges is None else exchanges.windows.pack(np.arange(len(exchanges.windows)))
    return Sample(texts=texts.pack(np.arange(len(texts))), exchanges=told)


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
