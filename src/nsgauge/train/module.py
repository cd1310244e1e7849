"""The door to lightning, inner half: the module that trains the network, and its data module."""

import math
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAveragePrecision

from nsgauge.data.batches import shuffled_batches
from nsgauge.data.split import Side
from nsgauge.errors import TrainingError
from nsgauge.models.network import Network
from nsgauge.protocol import CELLS, RATE_CELLS, Rate
from nsgauge.train.alignment import alignment_loss
from nsgauge.train.axes import axis_labels
from nsgauge.train.batches import CorpusBatches, TrainBatch
from nsgauge.train.corpus import Corpus
from nsgauge.train.features import CorpusVectors
from nsgauge.train.loss import committee_loss, observation_losses, row_losses
from nsgauge.train.recipe import OptimisationSettings, Recipe, StageSettings

NOT_FINITE_IN_A_ROW = 10
"""Steps without a finite loss that end a training; a bad batch or two are skipped."""

MONITORS = {"loss": ("val_loss", "min"), "ranking": ("val_average_precision", "max")}
"""By `optimisation.selection`, what is watched on validation, and which end of it is good."""


class CorpusModule(lightning.LightningDataModule):
    """Train and validation batches of a corpus; the order depends on seed and epoch alone."""

    def __init__(
        self,
        corpus: Corpus,
        *,
        recipe: Recipe,
        stage: StageSettings,
        vectors: CorpusVectors | None,
    ) -> None:
        super().__init__()
        self._corpus = corpus
        self._stage = stage
        self._vectors = vectors
        self._seed = recipe.seed
        self._members = recipe.committee

    def train_dataloader(self) -> CorpusBatches:
        """This epoch's shuffled batches."""
        epoch = 0 if self.trainer is None else self.trainer.current_epoch
        return self._batches(Side.TRAIN, generator=np.random.default_rng((self._seed, epoch)))

    def val_dataloader(self) -> CorpusBatches:
        """Validation batches, the same every epoch."""
        return self._batches(Side.VALIDATION, generator=np.random.default_rng(0))

    def transfer_batch_to_device(
        self, batch: TrainBatch, device: torch.device, dataloader_idx: int
    ) -> TrainBatch:
        """Batches know how to move."""
        del dataloader_idx
        return batch.to(device)

    def _batches(self, side: Side, *, generator: np.random.Generator) -> CorpusBatches:
        rows = self._corpus.rows_of(side)
        batches = shuffled_batches(
            [self._corpus.image_digests[row] for row in rows],
            rows_per_batch=self._stage.rows_per_step,
            rows_per_image=self._stage.rows_per_image,
            generator=generator,
        )
        return CorpusBatches(
            self._corpus,
            batches=[[rows[i] for i in batch] for batch in batches],
            vectors=self._vectors,
            members=self._members,
        )


class NetworkModule(lightning.LightningModule):
    """Trains adapters, fusion and head; checkpoints hold what is trained, not the base weights."""

    def __init__(
        self,
        network: Network,
        *,
        settings: OptimisationSettings,
        stage: StageSettings,
        updates: int,
        seed: int,
        alignment_share: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.strict_loading = False
        self._settings = settings
        self._stage = stage
        self._updates = updates
        self._seed = seed
        self._alignment_share = alignment_share
        self._not_finite = 0
        self._clipped: list[list[nn.Parameter]] | None = None
        self._precision = {
            rate: BinaryAveragePrecision() for rate in (Rate.UNSAFE, Rate.NOT_GROUNDED)
        }

    def on_train_epoch_start(self) -> None:
        """Dropout and noise depend on seed and epoch alone: a resumed run draws the same."""
        sequence = np.random.SeedSequence((self._seed, self.current_epoch))
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def training_step(self, batch: TrainBatch, _index: int) -> Tensor | None:
        """Loss of one step; None, which skips it, where that is no number.

        Raises:
            TrainingError: too many steps in a row had none.
        """
        said = self.network.class_log_probabilities(batch.inputs).float()
        losses = row_losses(
            said,
            log_cells=self.network.cells(said),
            masses=batch.masses,
            shares=batch.shares,
            smoothing=self._settings.label_smoothing,
        )
        loss = committee_loss(losses, teaches=batch.teaches)
        if self._alignment_share:
            loss = loss + self._alignment_share * alignment_loss(self.network, batch=batch)
        if not torch.isfinite(loss):
            self._skip()
            return None
        self._not_finite = 0
        self.log("train_loss", loss, batch_size=len(batch.masses), on_step=True, on_epoch=False)
        return loss

    def _skip(self) -> None:
        self._not_finite += 1
        if self._not_finite >= NOT_FINITE_IN_A_ROW:
            raise TrainingError(
                f"the loss was not finite in {NOT_FINITE_IN_A_ROW} steps in a row, the last in "
                f"epoch {self.current_epoch}: lower the stage's rates, or set "
                "optimisation.precision to fp32, and start anew with --overwrite"
            )
        self.log("skipped_steps", 1.0, reduce_fx="sum", on_step=False, on_epoch=True, batch_size=1)

    def validation_step(self, batch: TrainBatch, _index: int) -> None:
        """Loss and average precision per axis, over the rows whose axis the teacher named."""
        logits = self.network(batch.inputs).float()
        loss = observation_losses(logits.log_softmax(dim=-1), masses=batch.masses).mean()
        self.log("val_loss", loss, batch_size=len(batch.masses), prog_bar=True)
        probabilities = logits.softmax(dim=-1)
        for rate, metric in self._precision.items():
            positive, known = (
                torch.from_numpy(labels).to(self.device)
                for labels in axis_labels(batch.masses.cpu().numpy(), rate=rate)
            )
            columns = [CELLS.index(cell) for cell in RATE_CELLS[rate]]
            if known.any():
                metric.update(probabilities[known][:, columns].sum(dim=1), positive[known].long())

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's average precision per axis, and their mean.

        An axis without positives has none; without any axis, the mean is zero.
        """
        found = {}
        for rate, metric in self._precision.items():
            if metric.update_called and any(bool(t.any()) for t in metric.target):
                found[f"val_average_precision_{rate}"] = metric.compute()
            metric.reset()
        mean = torch.stack(list(found.values())).mean() if found else torch.zeros(())
        self.log_dict({**found, "val_average_precision": mean})

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Each member by itself: rows that don't teach it must not shorten its steps."""
        del gradient_clip_algorithm
        if self._clipped is None:
            # Once: to walk over all of the towers' modules takes longer than to clip.
            trained = [p for group in optimizer.param_groups for p in group["params"]]
            members = self.network.members
            of_members = [list(member.parameters()) for member in members]
            self._clipped = of_members if len(members) > 1 else [trained]
        for parameters in self._clipped:
            norm = math.inf if gradient_clip_val is None else gradient_clip_val
            nn.utils.clip_grad_norm_(parameters, norm)

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for adapters and one for fusion and head; a ramp, then a cosine."""
        trained = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        stage = self._stage
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for n, p in trained if ".lora_" in n], "lr": stage.adapter_rate},
                {"params": [p for n, p in trained if ".lora_" not in n], "lr": stage.head_rate},
            ],
            weight_decay=self._settings.weight_decay,
            fused=self.device.type == "cuda",
        )
        ramp = max(1, int(stage.ramp_share * self._updates))

        def factor(update: int) -> float:
            if update < ramp:
                return (update + 1) / ramp
            done = (update - ramp) / max(1, self._updates - ramp)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained: the base weights come from the preset again."""
        trained = {f"network.{n}" for n, p in self.network.named_parameters() if p.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in trained}
