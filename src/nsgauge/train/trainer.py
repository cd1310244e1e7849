"""The door to lightning, outer half: the trainer, its checkpoints, logs and resuming."""

import json
import logging
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from nsgauge.errors import SettingsError
from nsgauge.models.network import Network
from nsgauge.train.corpus import Corpus
from nsgauge.train.module import CorpusModule, NetworkModule
from nsgauge.train.recipe import Recipe

STATE = "run.json"
MONITOR = "val_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run keeps its checkpoints and logs, and what makes it this run and no other.

    Attributes:
        folder: Holds `checkpoints/`, `logs/` and `run.json`.
        key: Of recipe and data; a folder with another key is another run's.
    """

    folder: Path
    key: str

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "checkpoints" / "last.ckpt"

    def claim(self, *, fresh: bool) -> bool:
        """Make the folder this run's.

        Returns:
            Whether there is a checkpoint to go on from.

        Raises:
            SettingsError: the folder belongs to a run with another recipe or other data.
        """
        note = self.folder / STATE
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        if note.is_file() and json.loads(note.read_text(encoding="utf-8"))["key"] != self.key:
            raise SettingsError(
                f"{self.folder} holds an unfinished run with another recipe or other data: "
                "choose another --out, or pass --overwrite to start anew"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"key": self.key}) + "\n", encoding="utf-8")
        return self.last.is_file()


def run_training(
    network: Network,
    *,
    corpus: Corpus,
    recipe: Recipe,
    state: RunState,
    fresh: bool,
    progress: bool,
) -> bool:
    """Train the network in place and leave it with the weights of the best validation loss.

    Returns:
        Whether an earlier run was resumed.

    Raises:
        SettingsError: the run's folder is another run's.
    """
    resumed = state.claim(fresh=fresh)
    batches = CorpusModule(corpus, settings=recipe.optimisation, seed=recipe.seed)
    steps = recipe.optimisation.epochs * len(batches.train_dataloader())
    module = NetworkModule(network, settings=recipe.optimisation, steps=steps)
    best = ModelCheckpoint(
        state.folder / "checkpoints",
        filename="best",
        monitor=MONITOR,
        save_last=True,
        save_top_k=1,
        enable_version_counter=False,
    )
    stop = EarlyStopping(MONITOR, patience=recipe.optimisation.patience, check_finite=True)
    trainer = _trainer(recipe, state=state, callbacks=[best, stop], progress=progress)
    with warnings.catch_warnings():
        # Batches are assembled from memory: worker processes would only copy the corpus.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists.*")
        trainer.fit(
            module,
            datamodule=batches,
            ckpt_path=state.last if resumed else None,
            weights_only=True if resumed else None,
        )
    _restore(module, path=Path(best.best_model_path))
    return resumed


def _trainer(
    recipe: Recipe, *, state: RunState, callbacks: list[Callback], progress: bool
) -> lightning.Trainer:
    logs = state.folder / "logs"
    loggers: list[Logger] = [
        CSVLogger(logs, name="csv", version=""),
        TensorBoardLogger(logs, name="tensorboard", version=""),
    ]
    if progress:
        callbacks = [*callbacks, RichProgressBar(leave=True)]
    else:
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return lightning.Trainer(
        max_epochs=recipe.optimisation.epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if torch.cuda.is_available() else "32-true",
        logger=loggers,
        callbacks=callbacks,
        gradient_clip_val=recipe.optimisation.gradient_norm,
        log_every_n_steps=5,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic="warn",
    )


def _restore(module: NetworkModule, *, path: Path) -> None:
    """Put the best snapshot's weights into the module."""
    # weights_only: tensors and plain values, written by this run.
    snapshot = torch.load(path, weights_only=True, map_location="cpu")  # noqa: TID251
    module.load_state_dict(snapshot["state_dict"], strict=False)
