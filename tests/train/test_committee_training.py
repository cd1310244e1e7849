"""A committee from a data folder to a bundle: who learns from what, and what is the same again."""

import copy
import dataclasses
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import f1_score

from nsgauge.checkpoints.bundle import FILES, load_bundle
from nsgauge.data.folders import VERDICTS_FILE
from nsgauge.data.split import Side, item_key
from nsgauge.data.tables import read_verdicts
from nsgauge.eval.scoring.classifier import Classifier
from nsgauge.models.channels import ChannelSettings
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.protocol import Rate
from nsgauge.records import ScoreStatus
from nsgauge.train import token_cache
from nsgauge.train.axes import axis_labels
from nsgauge.train.channels import open_classes
from nsgauge.train.corpus import load_corpus
from nsgauge.train.features import (
    corpus_logits,
    corpus_vectors,
    corpus_voices,
    held_out_logits,
    held_out_voices,
)
from nsgauge.train.fit import train
from nsgauge.train.module import NetworkModule
from nsgauge.train.recipe import Recipe
from nsgauge.train.shares import fit_shares
from nsgauge.train.trainer import RunState, run_training

MEMBERS = 3


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.from_mapping(
        {
            "name": "committee",
            "teacher": {"judges": ["sample-judge"], "categories": True},
            "split": {"salt": "a", "test": 0.2},
            "windows": {"window_tokens": 32, "prompt_tokens": 8, "max_windows": 1},
            "lora": {"image": False, "text": False},
            "pooling": {"queries": 2, "width": 8},
            "fusion": {"width": 16, "layers": 1, "heads": 2, "feature_noise": 0.1},
            "committee": MEMBERS,
            "channels": {
                "lexical": {"grams": 512, "share": 0.4},
                "probe": {"share": 0.3},
                "fit_shares": True,
            },
            "optimisation": {
                "frozen": {"epochs": 2, "rows_per_step": 16},
                "adapted": {"epochs": 0},
            },
        },
        source="test",
    )


@pytest.fixture(scope="module")
def categorised(world, tmp_path_factory):
    """The sample world; its judge names two classes in every cell, but not of every triple."""
    data = tmp_path_factory.mktemp("categorised") / "data"
    shutil.copytree(world, data)
    verdicts = read_verdicts(world)
    columns = ("triple_id", "safety", "grounding")
    said = list(zip(*(verdicts[name].to_pylist() for name in columns), strict=True))
    number = {name: row for row, name in enumerate(sorted({triple for triple, _, _ in said}))}
    names = [
        f"{safety} {grounding} {number[triple] % 2}"
        if safety and grounding and number[triple] % 5
        else None
        for triple, safety, grounding in said
    ]
    column = verdicts.schema.get_field_index("category")
    named = verdicts.set_column(column, verdicts.schema.field(column), pa.array(names, pa.string()))
    pq.write_table(named, data / VERDICTS_FILE)
    return data


@pytest.fixture(scope="module")
def corpus(categorised, recipe, towers):
    return load_corpus(categorised, recipe=recipe, towers=towers)


@pytest.fixture(scope="module")
def vectors(corpus, recipe, towers):
    """What the towers make of the corpus, for every committee on them."""
    return corpus_vectors(
        untrained(recipe, corpus=corpus, towers=towers), corpus=corpus, cache=None
    )


def untrained(recipe: Recipe, *, corpus, towers) -> Network:
    settings = NetworkSettings(
        lora=recipe.lora,
        fusion=recipe.fusion,
        pooling=recipe.pooling,
        members=recipe.committee,
        classes=corpus.classes,
        ordinals=recipe.windows.max_windows,
        channels=recipe.channels,
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return build_network(copy.deepcopy(towers), settings=settings)


@pytest.fixture(scope="module")
def trained(categorised, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return train(recipe, data=categorised, out=folder / "bundle", cache=folder / "cache")


@pytest.fixture(scope="module")
def bundle(trained):
    return load_bundle(trained.bundle)


def test_every_row_that_isnt_for_testing_teaches_all_members_but_one(corpus):
    assert set(corpus.sides) == {Side.TRAIN, Side.TEST}
    test = np.array([side is Side.TEST for side in corpus.sides])
    assert (corpus.parts[test] == -1).all()
    assert set(corpus.parts[~test]) == set(range(MEMBERS))
    part_of: dict[str, int] = {}
    for triple, digest, part in zip(
        corpus.triples, corpus.image_digests, corpus.parts.tolist(), strict=True
    ):
        for key in (item_key(triple.benchmark, triple.item_id), str(digest)):
            assert part_of.setdefault(key, part) == part


def test_classes_are_the_judges_and_unnamed_rows_keep_their_cells(corpus):
    assert len(corpus.classes) == 8
    named = corpus.shares.sum(axis=1) > 0
    assert 0.6 < named.mean() < 0.9
    for each, share in zip(corpus.classes, corpus.shares.T, strict=True):
        safety, grounding, _ = each.name.split()
        prefix = {"grounded": "grounded", "not_grounded": "ungrounded"}[grounding]
        assert each.cell == f"{prefix}_{safety}"
        assert share.sum() > 0


def test_a_bundle_holds_the_whole_committee_and_scores(categorised, bundle, corpus, vectors):
    settings = bundle.manifest.network
    assert (settings.members, settings.pooling.queries) == (MEMBERS, 2)
    assert settings.classes == corpus.classes
    rows = corpus.rows_of(Side.TRAIN)[::4]
    triples = [corpus.triples[row] for row in rows]
    scores = Classifier(bundle).score(triples, image_root=categorised)
    assert set(scores.status) == {ScoreStatus.SCORED}
    logits = corpus_logits(bundle.network, corpus=corpus, rows=rows, vectors=vectors)
    wanted = bundle.manifest.calibrator.probabilities(logits)
    # The vectors are in half precision.
    np.testing.assert_allclose(scores.cells, wanted, atol=2e-3)


def test_everything_but_the_test_side_is_marked_as_seen(bundle, corpus):
    for triple, digest, side in zip(
        corpus.triples, corpus.image_digests, corpus.sides, strict=True
    ):
        for key in (item_key(triple.benchmark, triple.item_id), str(digest)):
            assert bundle.has_seen([key]) == (side is not Side.TEST)


def test_shares_are_fitted_on_what_each_row_s_unlearned_member_says(
    bundle, recipe, corpus, vectors
):
    rows = corpus.rows_of(Side.TRAIN)
    voices = held_out_voices(bundle.network, corpus=corpus, rows=rows, vectors=vectors)
    assert voices.shape == (3, len(rows), len(corpus.classes))
    shares = fit_shares(
        voices,
        named=corpus.shares[rows],
        masses=corpus.masses[rows],
        is_open=open_classes(corpus),
        given=recipe.channels.shares,
    )
    channels = bundle.manifest.network.channels
    np.testing.assert_allclose(channels.shares, shares, atol=1e-6)
    assert channels.shares != recipe.channels.shares
    assert all(member.shares == channels.shares for member in bundle.network.members)
    # Of a row, the voice of the fusion is that of the member that its part was kept from.
    row = rows[5]
    alone = corpus_voices(bundle.network, corpus=corpus, rows=[row], vectors=vectors)
    np.testing.assert_allclose(voices[:, 5], alone[corpus.parts[row], :, 0], atol=2e-5)


def test_a_rows_held_out_logits_are_those_of_the_member_of_its_part(
    trained, bundle, corpus, vectors
):
    rows = corpus.rows_of(Side.TRAIN)
    held = held_out_logits(bundle.network, corpus=corpus, rows=rows, vectors=vectors)
    cells = trained.manifest.calibrator.probabilities(held)
    for axis, columns in (("unsafe", [1, 3]), ("not_grounded", [2, 3])):
        choice = trained.manifest.training.thresholds[axis]
        positive, known = axis_labels(corpus.masses[rows], rate=Rate(axis))
        assert choice.rows == known.sum()
        assert choice.positives == positive[known].sum()
        called = cells[:, columns].sum(axis=1)[known] >= choice.threshold
        assert f1_score(positive[known], called) == pytest.approx(trained.quality[Rate(axis)].f1)
    single = NetworkSettings.model_validate({**dict(bundle.manifest.network), "members": 1})
    for number, member in enumerate(bundle.network.members):
        alone = build_network(copy.deepcopy(bundle.towers), settings=single).eval()
        alone.members[0].load_state_dict(member.state_dict())
        of_part = [at for at, row in enumerate(rows) if corpus.parts[row] == number]
        said = corpus_logits(
            alone, corpus=corpus, rows=[rows[at] for at in of_part], vectors=vectors
        )
        np.testing.assert_allclose(held[of_part], said, atol=1e-5)


def test_the_same_seed_and_cached_tokens_give_the_same_files(
    trained, categorised, recipe, tmp_path, monkeypatch
):
    def unwanted(*_, **__):
        raise AssertionError("the tokens are in the cache")

    monkeypatch.setattr(token_cache, "encode_tokens", unwanted)
    cache = trained.bundle.with_name("cache")
    again = train(recipe, data=categorised, out=tmp_path / "again", cache=cache)
    for name in FILES:
        assert (again.bundle / name).read_bytes() == (trained.bundle / name).read_bytes()
    assert again.manifest.calibrator == trained.manifest.calibrator
    assert again.manifest.thresholds == trained.manifest.thresholds


def learned(recipe: Recipe, *, corpus, towers, vectors, folder) -> Network:
    """A committee on a corpus in memory, without its channels."""
    network = untrained(recipe, corpus=corpus, towers=towers)
    state = RunState(folder=folder, key="")
    run_training(network, corpus=corpus, vectors=vectors, recipe=recipe, state=state)
    return network.eval()


def test_the_member_that_decides_on_a_row_never_learned_its_labels(
    recipe, corpus, towers, vectors, tmp_path
):
    # So short that every step is clipped: members must not share the bound.
    optimisation = recipe.optimisation.model_copy(update={"gradient_norm": 0.05})
    bare = recipe.model_copy(update={"channels": ChannelSettings(), "optimisation": optimisation})
    flipped = corpus.parts == 1
    masses, shares = corpus.masses.copy(), corpus.shares.copy()
    masses[flipped] = np.roll(masses[flipped], 1, axis=1)
    shares[flipped] = np.roll(shares[flipped], 1, axis=1)
    other = dataclasses.replace(corpus, masses=masses, shares=shares)
    networks = [
        learned(bare, corpus=each, towers=towers, vectors=vectors, folder=tmp_path / name)
        for name, each in (("before", corpus), ("after", other))
    ]
    for part in range(MEMBERS):
        rows = np.flatnonzero(corpus.parts == part).tolist()
        before, after = (
            held_out_logits(network, corpus=corpus, rows=rows, vectors=vectors)
            for network in networks
        )
        assert np.array_equal(before, after) == (part == 1)


def test_a_stopped_committee_resumes_to_the_same_weights(
    recipe, corpus, towers, vectors, tmp_path, monkeypatch
):
    given = {"corpus": corpus, "towers": towers, "vectors": vectors}
    whole = learned(recipe, **given, folder=tmp_path / "whole")
    end_of_epoch = NetworkModule.on_train_epoch_end

    def stop(module):
        if module.current_epoch == 1:
            raise RuntimeError("pulled the plug")
        end_of_epoch(module)

    monkeypatch.setattr(NetworkModule, "on_train_epoch_end", stop)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        learned(recipe, **given, folder=tmp_path / "cut")
    monkeypatch.undo()
    resumed = learned(recipe, **given, folder=tmp_path / "cut")
    found = resumed.heads.state_dict()
    for name, tensor in whole.heads.state_dict().items():
        assert torch.equal(found[name], tensor), name
