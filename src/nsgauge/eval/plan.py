"""Which triples a judge should see next: a declared random draw, with every row's probability.

A plan is drawn from the answered responses that the judge has not answered on. So the
probabilities of a later round are given the earlier ones: what was judged before counts once, as
it is, and 1 / probability weighs the later round up to the rest; the sum of the two is unbiased.
1 / probability over the rows of both rounds at once is not. Two `uniform` rounds of n1 and n2 of N
triples, though, are one uniform sample with the probability (n1 + n2) / N.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from nsgauge.data.plan_file import PLAN_SCHEMA, Design, PlanNote
from nsgauge.data.tables import data_fingerprint, read_triples, read_verdicts
from nsgauge.data.votes import judge_counts
from nsgauge.errors import SettingsError
from nsgauge.eval.inclusion import (
    allocation,
    draw_keys,
    simple_draw,
    systematic_draw,
    uncertainty_probabilities,
)
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.eval.plan_units import Units, units_of
from nsgauge.eval.scoring.shards import read_manifest, read_scores
from nsgauge.records import ResponseState, VerdictState


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumDraw:
    """What was drawn from one stratum.

    Attributes:
        name: As in the plan's column `stratum`.
        population: Units (triples or items) that could have been drawn.
        drawn: Units that were.
        lowest: The smallest inclusion probability of the population.
        highest: The largest.
    """

    name: str
    population: int
    drawn: int
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A draw.

    Attributes:
        rows: PLAN_SCHEMA, in the order of the ids.
        strata: In the order of their names.
        judged_before: Triples left out because the judge had answered on them already.
        population: Triples that could have been drawn.
        units: Triples or items that were drawn.
    """

    rows: pa.Table
    strata: list[StratumDraw]
    judged_before: int
    population: int
    units: int


def plan_from_folders(
    data: Path, *, scores: Path | None, settings: PlanSettings
) -> tuple[Plan, PlanNote]:
    """Draw a plan for a data folder; the plan and the note to write with it.

    Args:
        data: The data folder.
        scores: A finished score folder of it; read only where the design needs one.
        settings: How to draw.

    Raises:
        DataError: the data can't be read, or the scores aren't of it.
        ScoringError: the scores can't be read or aren't finished.
        SettingsError: as `draw_plan`.
    """
    used = scores if settings.needs_scores else None
    plan = draw_plan(
        read_triples(data),
        verdicts=read_verdicts(data),
        scores=None if used is None else read_scores(used),
        settings=settings,
    )
    run = None if used is None else read_manifest(used).run
    note = PlanNote(
        data_fingerprint=data_fingerprint(data),
        judge=settings.judge,
        round=settings.round,
        judged_before=plan.judged_before,
        population=plan.population,
        units=plan.units,
        settings={**settings.model_dump(mode="json"), "scores": run},
    )
    return plan, note


def draw_plan(
    triples: pa.Table, *, verdicts: pa.Table, scores: pa.Table | None, settings: PlanSettings
) -> Plan:
    """Draw a plan; the order of the rows changes nothing in it.

    Args:
        triples: TRIPLES_SCHEMA.
        verdicts: VERDICTS_SCHEMA; where there are any, `settings.judge` must say whose count.
        scores: SCORES_SCHEMA, with every triple; None where the design does without.
        settings: How to draw.

    Raises:
        DataError: the scores lack a triple.
        SettingsError: verdicts but no judge, a later round of a judge without answers, scores
            needed but not given, or a size that can't give every stratum its minimum.
    """
    seen = pc.is_in(triples["triple_id"], value_set=_judged(verdicts, settings=settings))
    answered = pc.equal(triples["response_state"], str(ResponseState.ANSWERED))
    rows = triples.filter(pc.and_(answered, pc.invert(seen))).sort_by("triple_id")
    units = units_of(rows, scores=scores, settings=settings)
    probabilities, drawn = _draw(units, settings=settings)
    unit_of = units.unit_of[drawn[units.unit_of]]
    columns = {
        "triple_id": rows["triple_id"].filter(pa.array(drawn[units.unit_of])),
        "inclusion_probability": probabilities[unit_of],
        "stratum": [units.strata[code] for code in units.stratum_of[unit_of]],
        "design": [str(settings.design)] * len(unit_of),
        "seed": [settings.seed] * len(unit_of),
    }
    return Plan(
        rows=pa.table(columns, schema=PLAN_SCHEMA),
        strata=_strata(units, probabilities=probabilities, drawn=drawn),
        judged_before=pc.sum(seen).as_py() or 0,
        population=rows.num_rows,
        units=int(drawn.sum()),
    )


def _judged(verdicts: pa.Table, *, settings: PlanSettings) -> pa.Array:
    """The triples that the judge has answered on."""
    judges = judge_counts(verdicts)
    if settings.judge is None and judges:
        listed = ", ".join(repr(name) for name in judges)
        wanted = "give --judge: one of them, or the name of a new one"
        raise SettingsError(f"there are verdicts of {listed}; {wanted}")
    of_judge = pc.equal(verdicts["judge"], settings.judge or "")
    answered = pc.equal(verdicts["state"], str(VerdictState.ANSWERED))
    judged = pc.unique(verdicts.filter(pc.and_(of_judge, answered))["triple_id"])
    if settings.round > 1 and not len(judged):
        found = f"round {settings.round}, but judge {settings.judge!r} has answered on nothing"
        raise SettingsError(f"{found}: check the name, or draw round 1")
    return judged


def _draw(
    units: Units, *, settings: PlanSettings
) -> tuple[Float[np.ndarray, " units"], Bool[np.ndarray, " units"]]:
    """Each unit's inclusion probability, and whether it was drawn."""
    total = min(settings.size, len(units.names))
    salt = f"plan:{settings.seed}:{settings.round}"
    kind = "item" if settings.by_item else "triple"
    keys = draw_keys(units.names, salt=f"{salt}:{kind}")
    if settings.design is Design.UNCERTAINTY:
        chances = uncertainty_probabilities(units.uncertainty, total=total, floor=settings.floor)
        start = int(draw_keys(["start"], salt=salt)[0]) / 2**64
        return chances, systematic_draw(chances, keys=keys, start=start)
    counts = _allocated(units, total=total, settings=settings)
    drawn = np.zeros(len(units.names), dtype=np.bool_)
    for code, count in enumerate(counts):
        of_stratum = np.flatnonzero(units.stratum_of == code)
        drawn[of_stratum[simple_draw(keys[of_stratum], count=int(count))]] = True
    return (counts / units.sizes)[units.stratum_of], drawn


def _allocated(units: Units, *, total: int, settings: PlanSettings) -> Int[np.ndarray, " strata"]:
    sizes = units.sizes
    if settings.design is not Design.STRATIFIED or total == 0:
        return np.full(len(sizes), total)
    least = int(np.minimum(settings.minimum, sizes).sum())
    if total < least:
        found = f"{len(sizes)} strata with at least {settings.minimum} each take {least}"
        raise SettingsError(f"{found}, the size is {total}: raise it, or lower the minimum")
    weights = sizes if settings.allocation == "proportional" else np.ones(len(sizes))
    return allocation(sizes, total=total, weights=weights.astype(float), minimum=settings.minimum)


def _strata(
    units: Units, *, probabilities: Float[np.ndarray, " units"], drawn: Bool[np.ndarray, " units"]
) -> list[StratumDraw]:
    found = []
    for code, name in enumerate(units.strata):
        of_stratum = units.stratum_of == code
        chances = probabilities[of_stratum]
        found.append(
            StratumDraw(
                name=name,
                population=len(chances),
                drawn=int(drawn[of_stratum].sum()),
                lowest=float(chances.min()),
                highest=float(chances.max()),
            )
        )
    return found
