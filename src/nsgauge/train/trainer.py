"""The door to lightning, outer half: the trainer, its checkpoints, logs and resuming."""

import json
import logging
import math
import shutil
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from nsgauge.data.folders import new_file
from nsgauge.errors import SettingsError
from nsgauge.models.network import Network
from nsgauge.train.corpus import Corpus
from nsgauge.train.features import CorpusVectors
from nsgauge.train.module import MONITORS, CorpusModule, NetworkModule
from nsgauge.train.recipe import Recipe, StageSettings

STATE = "run.json"
FROZEN, ADAPTED = "frozen", "adapted"
_EXPECTED_WARNINGS = (
    # Batches are assembled from memory: worker processes would only copy the corpus.
    ".*does not have many workers.*",
    # A resumed stage goes on in its own folder.
    ".*Checkpoint directory .* exists.*",
    # Batch norms keep their statistics.
    ".*in eval mode at the start of training.*",
    # A step whose loss is no number is skipped, counted and logged.
    ".*training_step. returned .None.*",
    # Lightning's own use of torch.
    ".*isinstance.treespec, LeafSpec.*",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run keeps its checkpoints and logs, and what makes it this run and no other.

    Attributes:
        folder: Holds `run.json` and a folder of checkpoints and logs per stage.
        key: Of recipe, data and towers; a folder with another key is another run's.
        progress: Show a progress bar.
    """

    folder: Path
    key: str
    progress: bool = False

    def claim(self, *, fresh: bool) -> bool:
        """Make the folder this run's.

        Args:
            fresh: Forget whatever other run was there, or this one if it came to its end.

        Returns:
            Whether this very run was started before.

        Raises:
            SettingsError: the folder belongs to a run with another recipe, other data or other
                towers, or to no run.
        """
        note = self.folder / STATE
        if self.folder.is_dir() and any(self.folder.iterdir()) and not note.is_file():
            raise SettingsError(
                f"{self.folder} is there, but isn't the folder of a training: move it, or choose "
                "another --out"
            )
        known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        own = known.get("key") == self.key
        if fresh and (not own or known.get("finished")):
            shutil.rmtree(self.folder, ignore_errors=True)
            known = {}
        if known and not own:
            raise SettingsError(
                f"{self.folder} holds an unfinished run with another recipe, data or towers: "
                "choose another --out, or pass --overwrite to start anew"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._note(finished=bool(known.get("finished")))
        return bool(known)

    def finish(self) -> None:
        """Say that the run came to its end: its bundle is written."""
        self._note(finished=True)

    def _note(self, *, finished: bool) -> None:
        content = json.dumps({"key": self.key, "finished": finished})
        with new_file(self.folder / STATE, overwrite=True) as part:
            part.write_text(content + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """One stage of a run: its settings and where it keeps its files."""

    name: str
    settings: StageSettings
    folder: Path
    progress: bool

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint that does best on validation; a committee has none."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def done(self) -> Path:
        """Is there once the stage has ended."""
        return self.folder / "done"


class _Snapshots(ModelCheckpoint):
    """Lightning's, but a run's folder may be moved between two starts, or mounted elsewhere."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What the snapshot knew, its paths as they are now."""
        moved = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[name] = self._here(moved[name])
        moved["best_k_models"] = {
            self._here(path): score for path, score in moved["best_k_models"].items()
        }
        super().load_state_dict(moved)

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath or "", Path(path).name)) if path else path


class _Progress(RichProgressBar):
    """Lightning's bar without the logger's version, which says nothing to anyone."""

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands beside the bar."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return shown


def training_device() -> torch.device:
    """Where frozen towers read, and what is fitted after the stages: CUDA, if there is any."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_training(
    network: Network,
    *,
    corpus: Corpus,
    vectors: CorpusVectors | None,
    recipe: Recipe,
    state: RunState,
) -> None:
    """Train the network in place, stage after stage, each from the best snapshot of the last.

    A stage that has ended is not run again; one that was stopped goes on from its last epoch. A
    committee has no rows to select on, and ends with its last snapshot.

    Args:
        network: Untrained.
        corpus: What is learned.
        vectors: What the towers as they are make of it; None where no stage leaves them so.
        recipe: Of the training.
        state: Where the run keeps its files.
    """
    for stage in _stages(recipe, state=state):
        used = vectors if stage.name == FROZEN else None
        if not stage.done.is_file():
            _run_stage(network, corpus=corpus, vectors=used, recipe=recipe, stage=stage)
        _restore(network, path=stage.last if recipe.committee > 1 else stage.best)


def wants_vectors(recipe: Recipe, *, state: RunState) -> bool:
    """Whether anything is still to be done with the towers as they are.

    Without an adapted stage that includes what comes after the training.
    """
    frozen = [stage for stage in _stages(recipe, state=state) if stage.name == FROZEN]
    untouched = not recipe.optimisation.adapted.epochs
    return bool(frozen) and (untouched or not frozen[0].done.is_file())


def _stages(recipe: Recipe, *, state: RunState) -> list[_Stage]:
    optimisation = recipe.optimisation
    return [
        _Stage(name=name, settings=settings, folder=state.folder / name, progress=state.progress)
        for name, settings in ((FROZEN, optimisation.frozen), (ADAPTED, optimisation.adapted))
        if settings.epochs
    ]


def _run_stage(
    network: Network,
    *,
    corpus: Corpus,
    vectors: CorpusVectors | None,
    recipe: Recipe,
    stage: _Stage,
) -> None:
    batches = CorpusModule(corpus, recipe=recipe, stage=stage.settings, vectors=vectors)
    module = NetworkModule(
        network,
        settings=recipe.optimisation,
        stage=stage.settings,
        # An epoch's last update may be of fewer steps.
        updates=stage.settings.epochs
        * math.ceil(len(batches.train_dataloader()) / stage.settings.steps_per_update),
        seed=recipe.seed,
        # The maps compare what the towers made while they rested; later they follow the loss alone.
        alignment_share=0.0 if vectors is None else recipe.optimisation.alignment.share,
    )
    trainer = _trainer(recipe, stage=stage)
    # Lightning leaves every module in the mode it finds it in, and encoding left them in eval.
    network.train()
    resumed = stage.last.is_file()
    with warnings.catch_warnings():
        for known in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=known)
        trainer.fit(
            module,
            datamodule=batches,
            ckpt_path=stage.last if resumed else None,
            weights_only=True if resumed else None,
        )
    stage.done.touch()


def _trainer(recipe: Recipe, *, stage: _Stage) -> lightning.Trainer:
    logs = stage.folder / "logs"
    monitor, mode = MONITORS[recipe.optimisation.selection]
    # A resumed stage must not delete what was logged before it was stopped.
    start = f"start-{len(list(logs.glob('csv/start-*')))}"
    snapshots = partial(
        _Snapshots,
        stage.best.parent,
        save_top_k=1,
        # After the epoch is over: a snapshot from within would have it trained again.
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    # With `save_last` alone, the last would be that of the last epoch that was the best so far.
    callbacks: list[Callback] = [snapshots(filename=stage.last.stem)]
    # A committee has no rows to select on: its newest snapshot is its best.
    if recipe.committee == 1:
        stopping = EarlyStopping(monitor, mode=mode, patience=stage.settings.patience)
        best = snapshots(filename=stage.best.stem, monitor=monitor, mode=mode)
        callbacks = [stopping, best, *callbacks]
    loggers: list[Logger] = [
        CSVLogger(logs, name="csv", version=start),
        TensorBoardLogger(logs, name="tensorboard", version=start),
    ]
    if stage.progress:
        callbacks.append(_Progress(leave=False))
    # Its greetings and tips say nothing of this training.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return lightning.Trainer(
        max_epochs=stage.settings.epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if _in_bf16(recipe) else "32-true",
        logger=loggers,
        callbacks=callbacks,
        gradient_clip_val=recipe.optimisation.gradient_norm,
        accumulate_grad_batches=stage.settings.steps_per_update,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        limit_val_batches=0 if recipe.committee > 1 else None,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=stage.progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic="warn",
    )


def _in_bf16(recipe: Recipe) -> bool:
    precision = recipe.optimisation.precision
    return precision == "bf16" or (precision == "auto" and torch.cuda.is_available())


def _restore(network: Network, *, path: Path) -> None:
    """Put a snapshot's weights into the network."""
    # weights_only: tensors and plain values, written by this run.
    snapshot = torch.load(path, weights_only=True, map_location="cpu")  # noqa: TID251
    weights = {
        name.removeprefix("network."): tensor for name, tensor in snapshot["state_dict"].items()
    }
    network.load_state_dict(weights, strict=False)
