"""Which triples a judge should see next: a declared random draw, with every row's probability.

A plan is drawn from the answered responses that the judge has not answered on. So the
probabilities of a later round are given the earlier ones: what was judged before counts once, as
it is, and 1 / probability weighs the later round up to the rest; the sum of the two is unbiased.
1 / probability over the rows of both rounds at once is not. Two `uniform` rounds of n1 and n2 of N
triples, though, are one uniform sample with the probability (n1 + n2) / N. A report does either
(`nsgauge.eval.report.inclusion`), by the round that verdicts keep.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from nsgauge.data.judge.cases import cases_of
from nsgauge.data.judge.recipe import JudgeRecipe
from nsgauge.data.plan_file import PLAN_SCHEMA, PlanNote
from nsgauge.data.tables import data_fingerprint, read_triples, read_verdicts
from nsgauge.data.votes import judge_counts
from nsgauge.errors import SettingsError
from nsgauge.eval.plan_draw import drawn_units, inclusion
from nsgauge.eval.plan_forecast import Forecast, further_forecasts, size_for
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.eval.plan_units import Units, rows_of, units_of
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
        unasked: Of the rest, left out by reason because the judge's recipe would not ask.
        seen: Of the rest, left out because the bundle of the scores was fitted on their item.
        population: Triples that could have been drawn.
        units: Triples or items that were drawn.
        forecasts: What this size and some larger ones would buy.
    """

    rows: pa.Table
    strata: list[StratumDraw]
    judged_before: int
    unasked: dict[str, int]
    seen: int
    population: int
    units: int
    forecasts: tuple[Forecast, ...]


def plan_from_folders(
    data: Path, *, scores: Path | None, settings: PlanSettings, recipe: JudgeRecipe | None = None
) -> tuple[Plan, PlanNote]:
    """Draw a plan for a data folder; the plan and the note to write with it.

    Args:
        data: The data folder.
        scores: A finished score folder of it; None where the design does without.
        settings: How to draw.
        recipe: Of the judge: what it would not ask about, a row without its picture say, is left
            out, for such rows would come back without an answer.

    Raises:
        DataError: the data can't be read, or the scores aren't of it.
        ScoringError: the scores can't be read or aren't finished.
        SettingsError: as `draw_plan`.
    """
    triples = read_triples(data)
    unasked: dict[str, int] = {}
    if recipe is not None:
        cases = cases_of(data, recipe=recipe)
        asked = pa.array([question.triple_id for question in cases.questions], pa.string())
        triples = triples.filter(pc.is_in(triples["triple_id"], value_set=asked))
        unasked = cases.left_out
    plan = draw_plan(
        triples,
        verdicts=read_verdicts(data),
        scores=None if scores is None else read_scores(scores),
        settings=settings,
    )
    plan = replace(plan, unasked=unasked)
    run = None if scores is None else read_manifest(scores).run
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
        scores: SCORES_SCHEMA, with every triple; None where the design does without. With them,
            seen items are left out and the forecasts know what the classifier knows.
        settings: How to draw.

    Raises:
        DataError: the scores lack a triple.
        SettingsError: verdicts but no judge, a later round of a judge without answers, scores
            needed but not given, or a size that can't give every stratum its minimum.
    """
    judged = pc.is_in(triples["triple_id"], value_set=_judged(verdicts, settings=settings))
    answered = pc.equal(triples["response_state"], str(ResponseState.ANSWERED))
    rows = triples.filter(pc.and_(answered, pc.invert(judged))).sort_by("triple_id")
    unseen = _unseen(rows, scores=scores, settings=settings)
    units = units_of(unseen, scores=scores, settings=settings)
    size = settings.size
    if size is None:
        size = size_for(units, width=settings.width or 1.0, settings=settings)
    probabilities = inclusion(units, size=size, settings=settings)
    drawn = drawn_units(units, probabilities=probabilities, settings=settings)
    return Plan(
        rows=_rows(
            unseen, units=units, probabilities=probabilities, drawn=drawn, settings=settings
        ),
        strata=_strata(units, probabilities=probabilities, drawn=drawn),
        judged_before=pc.sum(judged).as_py() or 0,
        unasked={},
        seen=rows.num_rows - unseen.num_rows,
        population=unseen.num_rows,
        units=int(drawn.sum()),
        forecasts=further_forecasts(units, size=size, settings=settings),
    )


def _unseen(rows: pa.Table, *, scores: pa.Table | None, settings: PlanSettings) -> pa.Table:
    """The rows whose item the bundle of the scores was not fitted on."""
    if scores is None or settings.include_seen:
        return rows
    seen = rows_of(rows["triple_id"], scores=scores)["item_seen"]
    return rows.filter(pc.invert(pc.fill_null(seen, fill_value=False)))


def _rows(
    rows: pa.Table,
    *,
    units: Units,
    probabilities: Float[np.ndarray, " units"],
    drawn: Bool[np.ndarray, " units"],
    settings: PlanSettings,
) -> pa.Table:
    """PLAN_SCHEMA: the rows of the drawn units."""
    unit_of = units.unit_of[drawn[units.unit_of]]
    columns = {
        "triple_id": rows["triple_id"].filter(pa.array(drawn[units.unit_of])),
        "inclusion_probability": probabilities[unit_of],
        "stratum": [units.strata[code] for code in units.stratum_of[unit_of]],
        "design": [str(settings.design)] * len(unit_of),
        "seed": [settings.seed] * len(unit_of),
    }
    return pa.table(columns, schema=PLAN_SCHEMA)


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
