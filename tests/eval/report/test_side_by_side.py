"""Two judges or two classifiers beside each other: counted by hand, and through the folders."""

import json

import pyarrow.parquet as pq
import pytest

from nsgauge.data.tables import data_fingerprint
from nsgauge.errors import DataError
from nsgauge.eval.report.comparing import comparison_from_folders
from nsgauge.eval.scoring import shards


@pytest.fixture
def folder(judged_world, tmp_path):
    """The world of ten items with a third judge that calls everything safe and grounded."""
    for row in judged_world.triples:
        judged_world.cell(row["triple_id"], "meek", "gs")
    inputs = judged_world.inputs()
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(inputs.triples, data / "triples.parquet")
    pq.write_table(inputs.verdicts, data / "verdicts.parquet")
    return data


def score_folder(world, path, data):
    """A finished score folder."""
    path.mkdir()
    table = world.inputs().scores
    shard = shards.write_shard(path, name="scores-00000.parquet", table=table)
    manifest = shards.ScoreManifest(
        run="r",
        nsgauge_version="0",
        created="now",
        data_fingerprint=data_fingerprint(data),
        bundle={},
        settings={},
        rows=table.num_rows,
        complete=True,
    )
    shards.write_manifest(path, manifest=manifest.with_shard(shard, table=table))
    return path


def compared(data, *sides, out, reference=None):
    return comparison_from_folders(data, sides=sides, out=out, reference=reference)


def test_two_judges_are_compared_on_the_rows_that_both_answered(folder, tmp_path):
    found = compared(folder, "human", "machine", out=tmp_path / "out")
    (pool,) = [row for row in found.rates if row.vllm is None]
    # Beta's first row went unanswered by the machine; human calls 3 of the other 19 unsafe.
    assert (pool.rate, pool.paired.rows, pool.paired.items) == ("unsafe", 19, 10)
    assert pool.paired.first == pytest.approx(3 / 19)
    assert pool.paired.second == pytest.approx(4 / 19)
    assert found.reference == "meek"
    assert not found.auroc
    # Against one who says safe throughout, nobody agrees beyond chance.
    assert (found.kappa["unsafe"].first, found.kappa["unsafe"].second) == pytest.approx((0, 0))


def test_rates_of_both_axes_stand_for_judges_of_both(folder, tmp_path):
    found = compared(folder, "human", "meek", out=tmp_path / "out", reference="machine")
    pool = {row.rate: row.paired for row in found.rates if row.vllm is None}
    assert pool["not_grounded"].difference.value == pytest.approx(-6 / 20)
    assert pool["unsafe_grounded"].first == pytest.approx(2 / 20)
    assert found.kappa["unsafe"].second == pytest.approx(0)


def test_the_files_hold_the_same_numbers(folder, tmp_path):
    compared(folder, "human", "machine", out=tmp_path / "out")
    names = {str(f.relative_to(tmp_path / "out")) for f in (tmp_path / "out").rglob("*.*")}
    tables = {f"tables/comparison.{kind}" for kind in ("csv", "md", "tex")}
    assert names == tables | {"comparison.html", "comparison.json"}
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert numbers["rates"][-1]["paired"]["second"] == pytest.approx(4 / 19)
    assert (
        "| bench | all | Unsafe Rate | 19 | 15.8 | 21.1 | +5.3"
        in (tmp_path / "out" / "tables" / "comparison.md").read_text()
    )
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "human beside machine" in page


def test_two_score_folders_give_auroc_and_kappa(simulated, tmp_path):
    world, other = simulated(60), simulated(60)
    inputs = world.inputs()
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(inputs.triples, data / "triples.parquet")
    pq.write_table(inputs.verdicts, data / "verdicts.parquet")
    for row in other.scores:
        row["unsafe"], row["grounded_safe"], row["grounded_unsafe"] = (
            row["unsafe"],
            row["grounded_unsafe"],
            row["grounded_safe"],
        )
    first = score_folder(world, tmp_path / "first", data)
    second = score_folder(other, tmp_path / "second", data)
    found = compared(data, str(first), str(second), out=tmp_path / "out")
    assert found.reference == "human"
    assert set(found.auroc) == set(found.kappa) == {"unsafe", "not_grounded"}
    # Cells of the second are swapped on one axis alone.
    assert found.auroc["unsafe"].difference.value < -0.1
    assert found.auroc["not_grounded"].difference == (0.0, None, None)
    assert found.auroc["unsafe"].rows == 96  # 24 of 120 rows are of seen items.


def test_a_side_that_is_neither_judge_nor_folder_is_named(folder, tmp_path):
    with pytest.raises(DataError, match="'nobody': no judge of that name"):
        compared(folder, "human", "nobody", out=tmp_path / "out")
    with pytest.raises(DataError, match="on both sides"):
        compared(folder, "human", "human", out=tmp_path / "out")
