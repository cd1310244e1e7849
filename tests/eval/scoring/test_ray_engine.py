"""Ranges of rows on actors give the local engine's folder; Ray itself is tested where it is."""

import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nsgauge.data.folders import TRIPLES_FILE, file_digest
from nsgauge.data.tables import read_triples
from nsgauge.errors import BundleError, ScoringError
from nsgauge.eval.scoring import ray_engine
from nsgauge.eval.scoring.ray_engine import (
    ActorTask,
    Cluster,
    RangeScorer,
    RayResources,
    RowRange,
    read_range,
    remaining_ranges,
    score_folder_on_ray,
)
from nsgauge.eval.scoring.shards import read_controls, read_manifest, read_scores


def _task(bundle, data, *, settings) -> ActorTask:
    return ActorTask(
        bundle=bundle,
        data=data,
        cache=None,
        tower_directory=None,
        device="cpu",
        settings=settings,
        threads=1,
        triples_digest=file_digest(data / TRIPLES_FILE),
    )


def _differ(found: pa.Table, wanted: pa.Table) -> float:
    """The largest difference of a number; everything else must be the same."""
    assert found.schema == wanted.schema
    largest = 0.0
    for field in found.schema:
        ours, theirs = found[field.name], wanted[field.name]
        if not pa.types.is_floating(field.type):
            assert ours == theirs, field.name
            continue
        assert ours.is_valid() == theirs.is_valid()
        numbers = [column.drop_null().to_numpy() for column in (ours, theirs)]
        largest = max(largest, float(np.abs(numbers[0] - numbers[1]).max(initial=0.0)))
    return largest


def test_ranges_begin_where_the_written_shards_end(scored):
    manifest = read_manifest(scored)
    assert remaining_ranges(manifest, rows=7) == []
    cut = manifest.model_copy(update={"shards": manifest.shards[:2]})
    rest = [(each.first, each.rows) for each in remaining_ranges(cut, rows=7)]
    assert rest == [(14, 7), (21, 3)]


@pytest.mark.parametrize("rows_per_group", [1, 5, 24, 100])
def test_a_range_is_the_same_rows_however_the_file_is_grouped(world, tmp_path, rows_per_group):
    whole = read_triples(world)
    pq.write_table(whole, tmp_path / TRIPLES_FILE, row_group_size=rows_per_group)
    for first, rows in ((0, 7), (3, 9), (21, 3), (23, 1), (0, 24)):
        found = read_range(tmp_path, rows=RowRange(first=first, rows=rows))
        assert found.equals(whole.slice(first, rows))


def test_an_actor_scores_its_range_as_the_local_engine_does(
    bundle, bundle_path, world, scored, settings, monkeypatch
):
    monkeypatch.setattr(ray_engine, "load_saved", lambda *_, **__: bundle)
    actor = RangeScorer(_task(bundle_path, world, settings=settings))
    whole = read_scores(scored)
    for rows in (RowRange(first=7, rows=7), RowRange(first=21, rows=3)):
        assert _differ(actor.score(rows), whole.slice(rows.first, rows.rows)) <= 1e-5


def test_another_data_folder_under_the_same_path_is_refused(bundle_path, world, settings):
    task = replace(_task(bundle_path, world, settings=settings), triples_digest="0" * 64)
    with pytest.raises(ScoringError, match="must see the data folder under the same path"):
        RangeScorer(task).score(RowRange(first=0, rows=1))


class _FakeRay:
    """Scores at once; counts how many results nobody has fetched."""

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayActorError=IndexError)

    def __init__(self) -> None:
        self.pending = 0
        self.most = 0

    def actor(self) -> SimpleNamespace:
        return SimpleNamespace(score=SimpleNamespace(remote=self._score))

    def get(self, rows: RowRange) -> pa.Table:
        self.pending -= 1
        return pa.table({"first": [rows.first]})

    def _score(self, rows: RowRange) -> RowRange:
        self.pending += 1
        self.most = max(self.most, self.pending)
        return rows


def test_results_come_in_order_and_few_are_held():
    ray = _FakeRay()
    ranges = [RowRange(first=10 * index, rows=10) for index in range(50)]
    actors = [ray.actor() for _ in range(3)]
    firsts = [t["first"][0].as_py() for t in ray_engine._in_order(ranges, actors=actors, ray=ray)]
    assert firsts == [rows.first for rows in ranges]
    assert ray.most == 3 * ray_engine.RANGES_PER_ACTOR


def test_more_than_the_cluster_has_is_refused():
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 6.0, "GPU": 1.0})
    assert ray_engine._room(ray, cluster=Cluster(cpus=2)) == 3
    assert ray_engine._room(ray, cluster=Cluster(cpus=2, gpus=0.5)) == 2
    with pytest.raises(ScoringError, match="6 cores and 1 GPUs, an actor wants 8"):
        ray_engine._room(ray, cluster=Cluster(cpus=8))


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    def absent(_: str) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ScoringError, match=r"pip install '\.\[ray\]'"):
        ray_engine._ray()


@pytest.fixture(scope="module")
def local_cluster():
    """A cluster of two cores on this machine."""
    ray = pytest.importorskip("ray", reason="Ray isn't installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield Cluster(actors=2)
    ray.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_cluster_writes_the_folder_that_the_local_engine_writes(
    local_cluster, bundle_path, world, settings, scored, tmp_path
):
    resources = RayResources(cache=tmp_path / "cache", device="cpu", cluster=local_cluster)
    out = tmp_path / "scores"
    given = {"data": world, "settings": settings, "resources": resources}
    manifest = score_folder_on_ray(bundle_path, out=out, **given)
    wanted = read_manifest(scored)
    assert manifest.complete
    assert (manifest.run, manifest.statuses) == (wanted.run, wanted.statuses)
    assert [shard.rows for shard in manifest.shards] == [shard.rows for shard in wanted.shards]
    assert _differ(read_scores(out), read_scores(scored)) <= 1e-5
    assert read_controls(out).keys() == read_controls(scored).keys()
    with pytest.raises(BundleError, match=r"no bundle\.json there"):
        score_folder_on_ray(tmp_path, out=tmp_path / "other", **given)
