"""Training from a data folder to a bundle: what it keeps apart, what it leaves, how it resumes."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from nsgauge.checkpoints.bundle import load_bundle
from nsgauge.data.folders import VERDICTS_FILE
from nsgauge.data.split import Side, item_key
from nsgauge.data.tables import read_triples, read_verdicts, triples_of
from nsgauge.data.targets import Consensus, Making
from nsgauge.errors import DataError, SettingsError
from nsgauge.models.network import Network
from nsgauge.models.row_windows import TextRole
from nsgauge.models.towers.pair import load_towers
from nsgauge.records import ResponseState
from nsgauge.train import fit
from nsgauge.train.corpus import load_corpus
from nsgauge.train.features import corpus_logits
from nsgauge.train.fit import train
from nsgauge.train.module import NetworkModule
from nsgauge.train.recipe import Recipe, TeacherSettings

WEIGHTS = ("lora.safetensors", "heads.safetensors")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums of several threads differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(world, tiny_recipe, tmp_path_factory):
    """One uninterrupted training."""
    folder = tmp_path_factory.mktemp("trained")
    return train(tiny_recipe, data=world, out=folder / "bundle")


@pytest.fixture
def again(world, tiny_recipe):
    """The same training, to be told where to."""
    return partial(train, tiny_recipe, data=world)


def test_captions_that_always_stand_in_hide_pictures_but_not_from_the_split(
    world, tiny_recipe, towers, tmp_path
):
    data = tmp_path / "data"
    shutil.copytree(world, data)
    table = read_triples(data)
    captions = ["a red berry" if row % 2 else None for row in range(len(table))]
    place = table.schema.get_field_index("caption")
    table = table.set_column(place, table.schema.field(place), pa.array(captions, pa.string()))
    pq.write_table(table, data / "triples.parquet")
    plain, always = (
        load_corpus(data, recipe=tiny_recipe.model_copy(update={"captions": taken}), towers=towers)
        for taken in (True, "always")
    )
    described = [triple.caption is not None for triple in always.triples]
    assert {True, False} == set(described)
    for row, (hidden, text) in enumerate(zip(described, always.texts, strict=True)):
        assert (always.image_digests[row] is None) is hidden
        assert (TextRole.CAPTION in text.roles) is hidden
        assert TextRole.CAPTION not in plain.texts[row].roles
    assert always.pictures == plain.pictures == plain.image_digests
    assert always.sides == plain.sides
    assert always.item_keys(*Side) == plain.item_keys(*Side)


def test_sides_share_no_item_and_no_picture(world, tiny_recipe, towers):
    corpus = load_corpus(world, recipe=tiny_recipe, towers=towers)
    owner: dict[str, Side] = {}
    for triple, digest, side in zip(
        corpus.triples, corpus.image_digests, corpus.sides, strict=True
    ):
        for key in (item_key(triple.benchmark, triple.item_id), digest):
            assert owner.setdefault(str(key), side) is side
    assert set(owner.values()) == set(Side)


def test_every_row_is_learned_from_or_counted_as_left_out(world, tiny_recipe, towers):
    corpus = load_corpus(world, recipe=tiny_recipe, towers=towers)
    triples = triples_of(read_triples(world))
    assert len(corpus.triples) + sum(corpus.left_out.values()) == len(triples)
    assert all(t.response_state is ResponseState.ANSWERED for t in corpus.triples)
    np.testing.assert_allclose(corpus.masses.sum(axis=1), 1, rtol=1e-6)


def test_nothing_of_an_unseen_vllm_is_learned_selected_or_calibrated_on(world, tiny_recipe, towers):
    split = tiny_recipe.split.model_copy(update={"unseen_vllms": ("dune-2b",)})
    recipe = tiny_recipe.model_copy(update={"split": split})
    corpus = load_corpus(world, recipe=recipe, towers=towers)
    of_it = [s for t, s in zip(corpus.triples, corpus.sides, strict=True) if t.vllm == "dune-2b"]
    assert set(of_it) == {Side.TEST}
    assert len(of_it) > 20
    assert "dune-2b" not in corpus.vllms(Side.TRAIN)
    nobody = split.model_copy(update={"unseen_vllms": ("nobody",)})
    with pytest.raises(DataError, match="nobody"):
        load_corpus(world, recipe=tiny_recipe.model_copy(update={"split": nobody}), towers=towers)


def test_an_unknown_teacher_is_answered_with_the_known_ones(world, tiny_recipe, tmp_path):
    teacher = tiny_recipe.teacher.model_copy(update={"judges": ("nobody",)})
    recipe = tiny_recipe.model_copy(update={"teacher": teacher})
    with pytest.raises(DataError, match="sample-judge"):
        train(recipe, data=world, out=tmp_path / "bundle")


def test_a_teacher_may_be_the_consensus_of_three_judges(world, tiny_recipe, towers, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world, data)
    verdicts = read_verdicts(world)
    names = ("first", "second", "third")
    column = verdicts.schema.get_field_index("judge")
    copies = [
        verdicts.set_column(column, "judge", pa.array([name] * len(verdicts))) for name in names
    ]
    table = pa.concat_tables(copies).cast(verdicts.schema)
    pq.write_table(table.replace_schema_metadata(verdicts.schema.metadata), data / VERDICTS_FILE)
    teacher = TeacherSettings(judges=names, consensus=Consensus.DAWID_SKENE)
    agreed = load_corpus(
        data, recipe=tiny_recipe.model_copy(update={"teacher": teacher}), towers=towers
    )
    alone = load_corpus(world, recipe=tiny_recipe, towers=towers)
    assert set(agreed.making.values()) == {Making.CELLS}
    unanimous = alone.masses.max(axis=1) == 1
    assert unanimous.mean() > 0.5
    np.testing.assert_allclose(agreed.masses[unanimous], alone.masses[unanimous], atol=0.05)


def test_a_taken_place_is_refused_before_any_work(world, tiny_recipe, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="no bundle"):
        train(tiny_recipe, data=world, out=tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_the_bundle_says_where_it_comes_from(trained, world):
    facts = trained.manifest.training
    assert facts.judges == ("sample-judge",)
    assert facts.target_making == {"unsafe": "pooled", "not_grounded": "pooled"}
    assert facts.vllms == tuple(sorted(facts.vllms))
    assert sum(facts.rows.values()) + sum(facts.left_out.values()) == len(read_triples(world))
    assert facts.recipe["name"] == "tiny"
    assert {"torch", "peft", "lightning"} <= facts.versions.keys()


def test_the_bundle_says_what_its_thresholds_were_chosen_for(trained):
    manifest, facts = trained.manifest, trained.manifest.training
    for axis, choice in facts.thresholds.items():
        assert choice.threshold == getattr(manifest.thresholds, axis)
        assert choice.rows == facts.validation[f"{axis}_rows"]
        assert choice.positives == facts.validation[f"{axis}_positives"]
        assert choice.target == "f1"
    assert set(facts.thresholds) == {"unsafe", "not_grounded"}
    card = (trained.bundle / "README.md").read_text(encoding="utf-8")
    assert "| unsafe was chosen for | f1: precision" in card


def test_logs_can_be_read_by_tensorboard_and_as_csv(trained):
    runs = trained.bundle.with_name("bundle.run")
    for stage in ("frozen", "adapted"):
        assert list((runs / stage / "logs" / "tensorboard").rglob("events.out.tfevents.*"))
        (metrics,) = (runs / stage / "logs" / "csv").rglob("metrics.csv")
        lines = metrics.read_text(encoding="utf-8").splitlines()
        assert {"train_loss", "val_loss"} <= set(lines[0].split(","))


def test_a_bundle_gives_the_logits_that_were_validated(trained, world, tiny_recipe, towers):
    bundle = load_bundle(trained.bundle)
    corpus = load_corpus(world, recipe=tiny_recipe, towers=towers)
    rows = corpus.rows_of(Side.VALIDATION)
    cells = bundle.manifest.calibrator.probabilities(
        corpus_logits(bundle.network, corpus=corpus, rows=rows)
    )
    threshold = bundle.manifest.thresholds.unsafe
    called = int(((cells[:, 1] + cells[:, 3]) >= threshold).sum())
    assert 0 < called <= len(rows)
    seen = {Side.TRAIN, Side.VALIDATION, Side.CALIBRATION}
    for triple, side in zip(corpus.triples, corpus.sides, strict=True):
        key = item_key(triple.benchmark, triple.item_id)
        assert bundle.has_seen([key]) is (side in seen)


@pytest.mark.parametrize(("stage", "epoch"), [("frozen", 1), ("adapted", 1)])
def test_a_stopped_training_resumes_to_the_same_weights(
    stage, epoch, trained, again, tmp_path, monkeypatch
):
    end_of_epoch = NetworkModule.on_train_epoch_end

    def stop(module):
        names = {"frozen": 3, "adapted": 2}
        if module.trainer.max_epochs == names[stage] and module.current_epoch == epoch:
            raise RuntimeError("pulled the plug")
        end_of_epoch(module)

    monkeypatch.setattr(NetworkModule, "on_train_epoch_end", stop)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        again(out=tmp_path / "cut")
    monkeypatch.undo()
    assert not (tmp_path / "cut").exists()
    resumed = again(out=tmp_path / "cut")
    assert resumed.resumed
    logged = (tmp_path / "cut.run" / stage / "logs" / "csv").glob("*/metrics.csv")
    assert len(list(logged)) == 2
    for name in WEIGHTS:
        expected = load_file(trained.bundle / name)
        found = load_file(resumed.bundle / name)
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.fixture
def long_recipe(tiny_recipe):
    """Overfits soon: the best epoch comes long before the last."""
    content = tiny_recipe.model_dump(mode="json")
    content["fusion"]["width"] = 64
    content["optimisation"]["frozen"] |= {"epochs": 9, "patience": 9, "head_rate": 0.01}
    content["optimisation"]["frozen"]["rows_per_step"] = 4
    content["optimisation"]["adapted"]["epochs"] = 0
    content["lora"] |= {"image": False, "text": False}
    return Recipe.from_mapping(content, source="test")


def test_a_run_that_does_no_better_goes_on_from_its_last_epoch_wherever_it_lies(
    long_recipe, world, tmp_path, monkeypatch
):
    whole = train(long_recipe, data=world, out=tmp_path / "whole")
    end_of_epoch = NetworkModule.on_train_epoch_end
    begun: list[int] = []

    def stop(module):
        begun.append(module.current_epoch)
        if module.current_epoch == 7 and len(begun) == 8:
            raise RuntimeError("pulled the plug")
        end_of_epoch(module)

    monkeypatch.setattr(NetworkModule, "on_train_epoch_end", stop)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        train(long_recipe, data=world, out=tmp_path / "cut")
    best = tmp_path / "cut.run" / "frozen" / "checkpoints" / "best.ckpt"
    assert torch.load(best, weights_only=True)["epoch"] < 6  # noqa: TID251 - made just now
    (tmp_path / "cut.run").rename(tmp_path / "moved.run")
    resumed = train(long_recipe, data=world, out=tmp_path / "moved")
    assert begun == [*range(8), 7, 8]
    for name in WEIGHTS:
        expected, found = load_file(whole.bundle / name), load_file(resumed.bundle / name)
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_a_training_that_replaces_a_bundle_resumes_too(long_recipe, world, tmp_path, monkeypatch):
    out, begun = tmp_path / "bundle", []
    train(long_recipe, data=world, out=out)
    end_of_epoch = NetworkModule.on_train_epoch_end

    def stop(module):
        begun.append(module.current_epoch)
        if len(begun) == 3:
            raise RuntimeError("pulled the plug")
        end_of_epoch(module)

    monkeypatch.setattr(NetworkModule, "on_train_epoch_end", stop)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        train(long_recipe, data=world, out=out, overwrite=True)
    assert train(long_recipe, data=world, out=out, overwrite=True).resumed
    assert begun == [0, 1, 2, *range(2, 9)]


def test_a_folder_that_no_training_made_is_left_alone(world, tiny_recipe, tmp_path):
    run = tmp_path / "bundle.run"
    run.mkdir()
    (run / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match="isn't the folder of a training"):
        train(tiny_recipe, data=world, out=tmp_path / "bundle", overwrite=True)
    assert (run / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_what_frozen_towers_read_is_read_where_the_training_is(
    world, tiny_recipe, monkeypatch, tmp_path
):
    """Lightning takes the network along for its stages alone, and leaves it on the CPU."""
    steps: list[str] = []

    def noted(name):
        honest = getattr(fit, name)

        def call(*args, **named):
            steps.append(name)
            return honest(*args, **named)

        monkeypatch.setattr(fit, name, call)

    move = Network.to

    def to(self, *args, **named):
        if args == ("the device",):
            steps.append("to")
            return self
        return move(self, *args, **named)

    monkeypatch.setattr(fit, "training_device", lambda: "the device")
    monkeypatch.setattr(Network, "to", to)
    for name in ("corpus_vectors", "run_training", "fit_channels", "decided"):
        noted(name)
    train(tiny_recipe, data=world, out=tmp_path / "bundle")
    assert steps == ["to", "corpus_vectors", "run_training", "to", "fit_channels", "decided"]


def test_other_towers_do_not_resume_a_run(trained, world, tiny_recipe, monkeypatch, tmp_path):
    shutil.copytree(trained.bundle.with_name(trained.bundle.name + ".run"), tmp_path / "b.run")

    def others(*args, **named):
        return replace(load_towers(*args, **named), fingerprint="of others")

    monkeypatch.setattr(fit, "load_towers", others)
    with pytest.raises(SettingsError, match="another recipe, data or towers"):
        train(tiny_recipe, data=world, out=tmp_path / "b")


def test_another_recipe_does_not_resume_a_run(trained, world, tiny_recipe):
    recipe = tiny_recipe.model_copy(update={"seed": 8})
    out: Path = trained.bundle.with_name("other")
    run = trained.bundle.with_name("other.run")
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"key": "of another"}), encoding="utf-8")
    with pytest.raises(SettingsError, match="another recipe, data or towers"):
        train(recipe, data=world, out=out)
