"""Plans from a data folder and a score folder, written with where they come from."""

import pyarrow as pa
import pytest

from nsgauge.data.judge.recipe import JUDGE_RECIPES, JudgeRecipe
from nsgauge.data.plan_file import note_of, read_plan, write_plan
from nsgauge.data.tables import SourceNote, data_fingerprint, write_data
from nsgauge.eval.plan import plan_from_folders
from nsgauge.eval.plan_settings import PlanSettings
from nsgauge.eval.scoring.shards import ScoreManifest, write_manifest, write_shard
from nsgauge.protocol import Safety
from nsgauge.records import SCORES_SCHEMA, Triple, Verdict

UNSAFE = [0.02, 0.5, 0.9, 0.3, 0.0, 1.0, 0.6, 0.1]


def score(number, unsafe):
    said = {"status": "scored", "unsafe": unsafe, "not_grounded": 0.0, "image_state": "image"}
    flags = dict.fromkeys(("truncated", "item_seen", "vllm_seen"), False)
    return {"triple_id": f"t{number}", "text_windows": 1, **said, **flags}


@pytest.fixture
def folders(tmp_path):
    data, scores = tmp_path / "data", tmp_path / "scores"
    source = SourceNote(importer="test")
    triples = [
        Triple(triple_id=f"t{n}", item_id=f"i{n}", prompt="p", response="r") for n in range(8)
    ]
    verdict = Verdict(triple_id="t0", judge="me", safety=Safety.SAFE)
    table = pa.Table.from_pylist(
        [score(number, unsafe) for number, unsafe in enumerate(UNSAFE)], schema=SCORES_SCHEMA
    )
    write_data(data, triples=triples, verdicts=[verdict], rejects=[], source=source)
    scores.mkdir()
    shard = write_shard(scores, name="scores-00000.parquet", table=table)
    manifest = ScoreManifest(
        run="r1",
        nsgauge_version="0",
        created="2020-01-01",
        data_fingerprint="f",
        bundle={},
        settings={},
        rows=8,
        shards=(shard,),
        complete=True,
    )
    write_manifest(scores, manifest=manifest)
    return data, scores


def test_a_plan_of_folders_is_written_with_where_it_comes_from(folders, tmp_path):
    data, scores = folders
    options = PlanSettings(size=3, design="uncertainty", judge="me", seed=4)
    plan, note = plan_from_folders(data, scores=scores, settings=options)
    write_plan(tmp_path / "PLAN.parquet", rows=plan.rows, note=note)
    found = read_plan(tmp_path / "PLAN.parquet")
    assert found.num_rows == 3
    note = note_of(found)
    assert note.data_fingerprint == data_fingerprint(data)
    assert (note.judge, note.round, note.judged_before) == ("me", 1, 1)
    assert (note.population, note.units) == (7, 3)
    assert note.settings["scores"] == "r1"
    assert note.settings["floor"] == 0.2


def test_scores_that_the_design_does_without_still_say_what_was_seen(folders):
    data, scores = folders
    options = PlanSettings(size=3, judge="me")
    plan, note = plan_from_folders(data, scores=scores, settings=options)
    assert (plan.rows.num_rows, plan.seen) == (3, 0)
    assert note.settings["scores"] == "r1"
    plan, note = plan_from_folders(data, scores=None, settings=options)
    assert note.settings["scores"] is None


@pytest.mark.parametrize(("show", "drawn"), [("image", 0), ("none", 7)])
def test_what_the_judge_would_not_be_asked_is_not_drawn(folders, show, drawn):
    data, _ = folders
    recipe = JUDGE_RECIPES.load("openai", settings=JudgeRecipe, overrides=(f"picture.show={show}",))
    settings = PlanSettings(size=99, judge="me")
    plan, note = plan_from_folders(data, scores=None, settings=settings, recipe=recipe)
    assert (plan.rows.num_rows, plan.population, note.population) == (drawn, drawn, drawn)
    assert plan.unasked == ({} if show == "none" else {"no image": 8})
