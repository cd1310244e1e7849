"""The frozen stage: which snapshot it ends with, and what it does about a loss of NaN."""

import csv

import pytest
import torch

from nsgauge.data.split import Side
from nsgauge.errors import TrainingError
from nsgauge.models.network import NetworkSettings, build_network
from nsgauge.train import module
from nsgauge.train.corpus import load_corpus
from nsgauge.train.features import corpus_vectors
from nsgauge.train.loss import committee_loss
from nsgauge.train.recipe import Recipe
from nsgauge.train.trainer import RunState, run_training

ROWS_PER_STEP = 4


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    content = tiny_recipe.model_dump(mode="json")
    content["lora"] |= {"image": False, "text": False}
    content["windows"] |= {"window_tokens": 16, "max_windows": 1}
    content["optimisation"]["frozen"] |= {
        "epochs": 2,
        "head_rate": 0.02,
        "rows_per_step": ROWS_PER_STEP,
    }
    content["optimisation"]["adapted"]["epochs"] = 0
    return Recipe.from_mapping(content, source="test")


def fresh_network(recipe, *, towers):
    settings = NetworkSettings(
        lora=recipe.lora, fusion=recipe.fusion, ordinals=recipe.windows.max_windows
    )
    return build_network(towers, settings=settings)


@pytest.fixture(scope="module")
def corpus(world, towers, recipe):
    return load_corpus(world, recipe=recipe, towers=towers)


@pytest.fixture(scope="module")
def vectors(corpus, towers, recipe):
    return corpus_vectors(fresh_network(recipe, towers=towers), corpus=corpus, cache=None)


def test_nothing_of_the_test_side_is_read(corpus, vectors):
    learned = [row for row, side in enumerate(corpus.sides) if side is not Side.TEST]
    read = {window for row in learned for window in corpus.texts[row].windows}
    assert set(vectors.windows.index) == read
    assert {window for text in corpus.texts for window in text.windows} > read
    assert set(vectors.image_index) == {corpus.image_digests[row] for row in learned}
    assert set(corpus.images) > set(vectors.image_index)


class Run:
    """A training that is ready to run; gives its log."""

    def __init__(self, network, *, corpus, vectors, state, recipe) -> None:
        self._network, self._state, self._recipe = network, state, recipe
        self._given = {"corpus": corpus, "vectors": vectors, "state": state}

    def __call__(self, recipe: Recipe | None = None) -> list[dict[str, str]]:
        run_training(self._network, recipe=recipe or self._recipe, **self._given)
        assert all(bool(torch.isfinite(weight).all()) for weight in self._network.parameters())
        (log,) = self._state.folder.glob("frozen/logs/csv/*/metrics.csv")
        with log.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def snapshot(self) -> dict[str, object]:
        path = self._state.folder / "frozen" / "checkpoints" / "best.ckpt"
        found: dict[str, object] = torch.load(path, weights_only=True)  # noqa: TID251 (our own)
        return found


@pytest.fixture
def training(corpus, vectors, towers, recipe, tmp_path):
    """A training that is ready to run, and its steps an epoch."""
    network = fresh_network(recipe, towers=towers)
    state = RunState(folder=tmp_path / "run", key="one")
    state.claim(fresh=True)
    steps = -(-len(corpus.rows_of(Side.TRAIN)) // ROWS_PER_STEP)

    return Run(network, corpus=corpus, vectors=vectors, state=state, recipe=recipe), steps


def spoil(monkeypatch, *, calls):
    """Make the loss of these steps, counted from 0, no number."""
    honest, count = committee_loss, iter(range(10**6))

    def loss(losses, *, teaches):
        found = honest(losses, teaches=teaches)
        return found * torch.nan if next(count) in calls else found

    monkeypatch.setattr(module, "committee_loss", loss)


def test_bad_steps_are_skipped_and_counted_and_leave_the_weights_alone(training, monkeypatch):
    run, steps = training
    spoil(monkeypatch, calls={1, 2, steps + 3})
    log = run()
    skipped = [float(line["skipped_steps"]) for line in log if line["skipped_steps"]]
    assert skipped == [2.0, 1.0]


def test_many_in_a_row_end_the_training_and_say_what_to_do(training, monkeypatch):
    run, steps = training
    many = module.NOT_FINITE_IN_A_ROW
    assert steps > many
    spoil(monkeypatch, calls=set(range(1, 1 + many)))
    with pytest.raises(TrainingError, match=f"{many} steps in a row.*lower the stage's rates"):
        run()


def test_as_many_with_a_good_one_between_do_not(training, monkeypatch):
    run, _ = training
    many = module.NOT_FINITE_IN_A_ROW
    spoil(monkeypatch, calls={*range(1, many), *range(many + 1, many + 3)})
    run()


@pytest.mark.parametrize(
    ("selection", "watched", "best_of"),
    [("loss", "val_loss", min), ("ranking", "val_average_precision", max)],
)
def test_the_stage_ends_with_the_snapshot_that_does_best_on_validation(
    selection, watched, best_of, training, recipe
):
    run, _ = training
    log = run(
        recipe.model_copy(
            update={"optimisation": recipe.optimisation.model_copy(update={"selection": selection})}
        )
    )
    epochs = [line for line in log if line["val_loss"]]
    for line in epochs:
        axes = [float(line[f"val_average_precision_{axis}"]) for axis in ("unsafe", "not_grounded")]
        assert float(line["val_average_precision"]) == pytest.approx(sum(axes) / 2, abs=1e-6)
    best = best_of(epochs, key=lambda line: float(line[watched]))
    assert run.snapshot()["epoch"] == int(best["epoch"])
