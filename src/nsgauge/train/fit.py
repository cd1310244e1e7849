"""One training, from a data folder to a bundle; resumes where it was stopped."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch

from nsgauge.checkpoints.bundle import BUNDLE_FOLDER, save_bundle
from nsgauge.checkpoints.manifest import (
    BundleManifest,
    Thresholds,
    TrainingFacts,
)
from nsgauge.data.folders import check_free
from nsgauge.data.split import Side
from nsgauge.data.tables import data_fingerprint, read_verdicts
from nsgauge.models.classes import CellClass
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.preset import Preset, load_preset
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.protocol import Rate
from nsgauge.train.alignment import align
from nsgauge.train.axes import AxisQuality
from nsgauge.train.channels import fit_channels, weigh_channels
from nsgauge.train.corpus import Corpus, load_corpus
from nsgauge.train.features import corpus_vectors
from nsgauge.train.finish import Finish, decided
from nsgauge.train.recipe import Recipe
from nsgauge.train.trainer import RunState, run_training, training_device, wants_vectors

LIBRARIES = ("torch", "open-clip-torch", "timm", "transformers", "peft", "lightning")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training gave.

    Attributes:
        bundle: Folder of the saved classifier.
        manifest: Its manifest.
        quality: Per axis, on validation.
        resumed: Whether it went on from an earlier, unfinished run.
    """

    bundle: Path
    manifest: BundleManifest
    quality: dict[Rate, AxisQuality]
    resumed: bool


def train(
    recipe: Recipe,
    *,
    data: Path,
    out: Path,
    overwrite: bool = False,
    progress: bool = False,
    cache: Path | None = None,
) -> TrainingResult:
    """Train a classifier and save its bundle.

    A run that was stopped is resumed when it is started again with the same recipe, data and
    output; its checkpoints and logs lie in `OUT.run`.

    Args:
        recipe: Everything that the training depends on.
        data: A data folder.
        out: Where the bundle goes.
        overwrite: Replace a bundle that is there, and forget an earlier run; but this very run is
            resumed if it didn't come to its end.
        progress: Show a progress bar.
        cache: Folder where frozen towers' tokens are kept for other trainings; None for none.

    Raises:
        SettingsError: the towers can't be had, or `OUT.run` is another run's.
        DataError: `out` is taken, or the data can't be learned from.
    """
    check_free(out, overwrite=overwrite, kind=BUNDLE_FOLDER)
    started = time.monotonic()
    towers = load_towers(
        load_preset(recipe.preset),
        tower_directory=recipe.tower_directory,
        language=_language_preset(recipe),
        likelihoods=recipe.channels.wants_likelihoods,
    )
    corpus = load_corpus(data, recipe=recipe, towers=towers)
    state = RunState(
        folder=out.with_name(out.name + ".run"),
        key=_run_key(recipe, data=data, towers=towers),
        progress=progress,
    )
    device = training_device()
    network = _seeded_network(recipe, towers=towers, classes=corpus.classes).to(device)
    resumed = state.claim(fresh=overwrite)
    vectors = None
    if wants_vectors(recipe, state=state):
        vectors = corpus_vectors(network, corpus=corpus, cache=cache)
        if recipe.optimisation.alignment.epochs:
            # Seconds; a resumed run's snapshot takes its place.
            align(network, corpus=corpus, vectors=vectors, recipe=recipe)
    run_training(network, corpus=corpus, vectors=vectors, recipe=recipe, state=state)
    # Lightning leaves it on the CPU.
    network.to(device)
    fit_channels(network, corpus=corpus, vectors=vectors, settings=recipe.channels)
    settled = None if recipe.optimisation.adapted.epochs else vectors
    weigh_channels(network, corpus=corpus, vectors=settled)
    finish = decided(network, corpus=corpus, vectors=settled, recipe=recipe)
    facts = _facts(recipe, data=data, corpus=corpus, finish=finish, started=started)
    manifest = _manifest(recipe, towers=towers, network=network, finish=finish, facts=facts)
    seen = corpus.item_keys(Side.TRAIN, Side.VALIDATION, Side.CALIBRATION)
    save_bundle(out, manifest=manifest, network=network.cpu(), seen_keys=seen, overwrite=overwrite)
    state.finish()
    return TrainingResult(bundle=out, manifest=manifest, quality=finish.quality, resumed=resumed)


def _language_preset(recipe: Recipe) -> Preset | None:
    language = recipe.channels.language
    return None if language is None else load_preset(language.preset)


def _run_key(recipe: Recipe, *, data: Path, towers: Towers) -> str:
    """What a run is: a preset's file or folder may change behind a recipe that names it."""
    content = f"{recipe.model_dump_json()}:{data_fingerprint(data)}:{towers.fingerprint}"
    return sha256(content.encode()).hexdigest()


def _seeded_network(recipe: Recipe, *, towers: Towers, classes: tuple[CellClass, ...]) -> Network:
    """The untrained network; torch takes its initial weights from one global generator."""
    torch.manual_seed(recipe.seed)
    settings = NetworkSettings(
        lora=recipe.lora,
        fusion=recipe.fusion,
        pooling=recipe.pooling,
        members=recipe.committee,
        classes=classes,
        ordinals=recipe.windows.max_windows,
        channels=recipe.channels,
    )
    return build_network(towers, settings=settings)


def _facts(
    recipe: Recipe, *, data: Path, corpus: Corpus, finish: Finish, started: float
) -> TrainingFacts:
    validation = {
        f"{axis}_{name}": value
        for axis, quality in finish.quality.items()
        for name, value in asdict(quality).items()
    }
    validation |= {
        f"calibration_log_loss_{method}": loss for method, loss in finish.calibration_losses.items()
    }
    return TrainingFacts(
        judges=recipe.teacher.judges,
        target_making={axis: str(making) for axis, making in corpus.making.items()},
        prompt_hashes=_prompt_hashes(recipe, data=data),
        data_fingerprint=data_fingerprint(data),
        vllms=tuple(sorted(corpus.vllms(Side.TRAIN))),
        rows={str(side): len(corpus.rows_of(side)) for side in Side},
        left_out=corpus.left_out,
        recipe=recipe.model_dump(mode="json"),
        validation=validation,
        thresholds={str(axis): choice for axis, choice in finish.thresholds.items()},
        seconds=round(time.monotonic() - started, 1),
        versions={name: version(name) for name in LIBRARIES},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _prompt_hashes(recipe: Recipe, *, data: Path) -> tuple[str, ...]:
    columns = read_verdicts(data).select(["judge", "prompt_hash"]).to_pydict()
    pairs = zip(columns["judge"], columns["prompt_hash"], strict=True)
    return tuple(sorted({h for judge, h in pairs if h and judge in recipe.teacher.judges}))


def _manifest(
    recipe: Recipe, *, towers: Towers, network: Network, finish: Finish, facts: TrainingFacts
) -> BundleManifest:
    directory = recipe.tower_directory
    return BundleManifest(
        name=recipe.name,
        nsgauge_version=version("nsgauge"),
        preset=load_preset(recipe.preset),
        language_preset=_language_preset(recipe),
        tower_directory=None if directory is None else str(directory.resolve()),
        tower_fingerprint=towers.fingerprint,
        windows=recipe.windows,
        captions=recipe.captions,
        network=network.settings,
        calibrator=finish.calibrator,
        thresholds=Thresholds.model_validate(
            {axis: choice.threshold for axis, choice in finish.thresholds.items()}
        ),
        training=facts,
        files={},
    )
