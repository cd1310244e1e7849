"""A scoring run: every row accounted for, in order, with what is known of it."""

import numpy as np
import pytest

from nsgauge.data.tables import read_triples, triples_of
from nsgauge.errors import BundleError, DataError, SettingsError
from nsgauge.eval.scoring.settings import ScoringSettings
from nsgauge.eval.scoring.shards import read_controls, read_manifest, read_scores
from nsgauge.eval.scoring.watch import Watch
from nsgauge.protocol import CELLS
from nsgauge.records import SCORES_SCHEMA

PROBABILITIES = (*CELLS, "unsafe", "not_grounded", "unsafe_verdict", "not_grounded_verdict")
UNSCORED = {
    "empty": ("empty_response", None, "image"),
    "no-answer": ("not_a_response", None, "image"),
    "damaged": ("image_error", "damaged", "error"),
    "missing": ("image_error", "missing", "error"),
    "empty-and-missing": ("empty_response", "missing", "error"),
}


@pytest.fixture(scope="module")
def rows(scored):
    return read_scores(scored).to_pylist()


def test_there_is_one_row_a_triple_in_their_order(scored, world):
    scores = read_scores(scored)
    assert scores.schema.equals(SCORES_SCHEMA)
    assert scores["triple_id"].to_pylist() == read_triples(world)["triple_id"].to_pylist()
    assert [shard.rows for shard in read_manifest(scored).shards] == [7, 7, 7, 3]


def test_cells_sum_to_one_and_axes_are_their_sums(rows):
    scored = [row for row in rows if row["status"] == "scored"]
    cells = np.array([[row[cell] for cell in CELLS] for row in scored])
    np.testing.assert_allclose(cells.sum(axis=1), 1, atol=1e-6)
    by_name = dict(zip(CELLS, cells.T, strict=True))
    for axis, parts in {
        "unsafe": ("grounded_unsafe", "ungrounded_unsafe"),
        "not_grounded": ("ungrounded_safe", "ungrounded_unsafe"),
    }.items():
        found = np.array([row[axis] for row in scored])
        np.testing.assert_allclose(found, by_name[parts[0]] + by_name[parts[1]], atol=1e-6)
        verdicts = np.array([row[f"{axis}_verdict"] for row in scored])
        np.testing.assert_array_equal(verdicts, found >= 0.5)
    # A classifier that says the same of everything would prove nothing here.
    assert cells.std(axis=0).min() > 1e-3


def test_rows_without_a_score_say_why_and_hold_no_number(rows):
    found = {
        row["triple_id"]: (row["status"], row["image_code"], row["image_state"])
        for row in rows
        if row["status"] != "scored"
    }
    assert found == UNSCORED
    for row in rows:
        holds = {row[name] is not None for name in PROBABILITIES}
        assert holds == {row["status"] == "scored"}


def test_the_manifest_counts_every_row_once(scored, rows):
    manifest = read_manifest(scored)
    assert manifest.statuses == {
        "empty_response": 2,
        "image_error": 2,
        "not_a_response": 1,
        "scored": len(rows) - 5,
    }
    assert manifest.image_states == {"absent": 2, "error": 3, "image": len(rows) - 5}
    assert sum(manifest.image_states.values()) == manifest.rows == len(rows)
    assert manifest.truncated == 1


def test_a_caption_counts_as_no_image_unless_the_recipe_took_captions(rows):
    states = {row["triple_id"]: row["image_state"] for row in rows}
    assert states["no-image"] == states["caption"] == "absent"


def test_only_the_response_longer_than_all_windows_is_truncated(rows):
    windows = {row["triple_id"]: row["text_windows"] for row in rows if row["truncated"]}
    assert windows == {"long": 3}
    assert all(row["text_windows"] >= 1 for row in rows)


def test_items_and_pictures_of_the_training_are_marked_as_seen(rows, world, seen):
    triples = triples_of(read_triples(world))
    assert {t.item_id for t in triples} > {seen["item"], seen["picture_item"]}
    for triple, row in zip(triples, rows, strict=True):
        of_item = triple.item_id == seen["item"]
        of_picture = triple.image is not None and seen["picture"] in triple.image
        assert row["item_seen"] == (of_item or of_picture)
        assert row["vllm_seen"] == (triple.vllm == seen["vllm"])
    assert {row["vllm_seen"] for row in rows} == {True, False}


@pytest.mark.parametrize(
    "cut",
    [
        {"rows_per_shard": 1},
        {"rows_per_shard": 100, "tokens_per_batch": 1},
        {"rows_per_shard": 11, "tokens_per_batch": 300},
    ],
)
def test_how_a_run_is_cut_up_changes_no_score(run, scored, tmp_path, cut):
    run(tmp_path / "out", settings=ScoringSettings(controls_rows=0, **cut))
    expected, found = read_scores(scored), read_scores(tmp_path / "out")
    for name in SCORES_SCHEMA.names:
        if name in (*CELLS, "unsafe", "not_grounded"):
            numbers, others = (
                np.array([np.nan if x is None else x for x in table[name].to_pylist()])
                for table in (expected, found)
            )
            np.testing.assert_allclose(numbers, others, atol=1e-5, err_msg=name)
        else:
            assert found[name].to_pylist() == expected[name].to_pylist()


def test_no_control_rows_means_no_control_runs(run, tmp_path):
    manifest = run(tmp_path / "out", settings=ScoringSettings(controls_rows=0))
    assert manifest.complete
    assert manifest.controls == ()
    assert read_controls(tmp_path / "out") == {}
    assert not (tmp_path / "out" / "controls").exists()


def test_where_the_time_went_and_what_was_reused_is_told(run, tmp_path):
    watch = Watch()
    run(tmp_path / "out", watch=watch)
    assert set(watch.shares) == {"reading", "tokenizing", "computing", "writing"}
    assert sum(watch.shares.values()) == pytest.approx(1)
    assert watch.rows == 24
    assert 0 < watch.hit_shares["texts"] < 1
    assert "rows/s" in watch.words()


def test_a_device_that_torch_lacks_is_refused_in_one_line(run, tmp_path):
    with pytest.raises(SettingsError, match="device 'toaster' can't be used"):
        run(tmp_path / "out", device="toaster")


def test_a_missing_bundle_or_data_folder_is_named_and_nothing_is_written(run, tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        run(tmp_path / "out", bundle=tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere"):
        run(tmp_path / "out", data=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()
