"""Recipes: everything that one training depends on, in one YAML file."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from nsgauge.data.dawid_skene import FEWEST_JUDGES
from nsgauge.data.split import SplitSettings
from nsgauge.data.targets import Consensus
from nsgauge.models.channels import ChannelSettings
from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lora import LoraSettings
from nsgauge.models.pooling import PoolingSettings
from nsgauge.models.windows import Captions, WindowPolicy
from nsgauge.settings import Settings, Shelf

RECIPES = Shelf("recipe", package="nsgauge.train", folder="recipes")


class TeacherSettings(Settings):
    """Whose verdicts are learned: one judge, several, or people, who are judges with names too.

    `consensus` says what several judges together are taken to say: `pooled`, where every answered
    vote counts the same, or `dawid_skene`, where a judge counts as much as the others find it
    right. The latter needs triples that three of them answered.
    With `categories`, and pooled votes, the judges' own finer classes are learned, each inside its
    cell; a triple whose votes name none still teaches its cell.
    """

    judges: tuple[str, ...] = Field(min_length=1)
    consensus: Consensus = Consensus.POOLED
    categories: bool = False

    @field_validator("judges", mode="before")
    @classmethod
    def _one_judge_may_be_named_alone(cls, judges: Any) -> Any:
        return (judges,) if isinstance(judges, str) else judges

    @model_validator(mode="after")
    def _a_consensus_suits_its_judges(self) -> "TeacherSettings":
        named = len(set(self.judges))
        if self.consensus is Consensus.DAWID_SKENE and named < FEWEST_JUDGES:
            raise ValueError(
                f"consensus {self.consensus} needs {FEWEST_JUDGES} judges, {named} named: "
                f"name more, or set it to {Consensus.POOLED}"
            )
        if self.categories and self.consensus is not Consensus.POOLED:
            raise ValueError(
                f"categories are learned as they were voted for, which no {self.consensus} weighs: "
                f"set consensus to {Consensus.POOLED}, or leave the categories out"
            )
        return self


class StageSettings(Settings):
    """One stage of the training; its learning rates rise over `ramp_share`, then fall as a cosine.

    `patience` epochs that do no better on validation end the stage. `rows_per_image` rows of one
    image lie together in a step, so that its picture is encoded once for them. The weights move
    once in `steps_per_update` steps, by the mean of their gradients: large batches, little memory.
    (The update that ends an epoch moves them by less where fewer steps are left for it.)
    `head_rate` is of fusion and head, `adapter_rate` of the adapters, which rest while the towers
    are frozen.
    """

    epochs: int = Field(ge=0)
    patience: int = Field(3, ge=1)
    rows_per_step: int = Field(32, ge=1)
    rows_per_image: int = Field(1, ge=1)
    steps_per_update: int = Field(1, ge=1)
    head_rate: float = Field(1e-3, gt=0)
    adapter_rate: float = Field(5e-4, gt=0)
    ramp_share: float = Field(0.1, ge=0, lt=1)


class AlignmentSettings(Settings):
    """Before all else, how the fusions' matches learn which picture a grounded response speaks of.

    A contrastive loss over `rows_per_step` rows at a time, for `epochs`; with weight `share` it
    stays beside the loss of the frozen stage. Wants `fusion.match_width`.
    """

    epochs: int = Field(0, ge=0)
    rows_per_step: int = Field(256, ge=2)
    rate: float = Field(1e-3, gt=0)
    share: float = Field(0.0, ge=0)

    @property
    def wanted(self) -> bool:
        """Whether anything is aligned."""
        return bool(self.epochs or self.share)


class OptimisationSettings(Settings):
    """Fusion and head first, on cached vectors of the frozen towers; then the adapters with them.

    A random head would bend the towers before it knows what to ask of them (Kumar et al. 2022,
    "Fine-tuning can distort pretrained features"); an epoch of the first stage is also far cheaper.
    `precision` `bf16` multiplies in bfloat16 and keeps weights and sums in fp32; `auto` is that on
    a GPU and fp32 elsewhere, where many processors emulate bf16 at a tenth of the speed.
    `selection` says which snapshot on validation is best: that of the lowest `loss`, or of the best
    `ranking`, the mean of both axes' average precision, where probabilities swing from epoch to
    epoch and the rows are many; they are calibrated afterwards either way.
    """

    alignment: AlignmentSettings = AlignmentSettings()
    frozen: StageSettings = StageSettings(epochs=30, patience=30, rows_per_step=16, head_rate=2e-3)
    adapted: StageSettings = StageSettings(epochs=4, rows_per_image=4, head_rate=5e-4)
    selection: Literal["loss", "ranking"] = "loss"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    weight_decay: float = Field(0.01, ge=0)
    gradient_norm: float = Field(1.0, gt=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _something_is_trained(self) -> "OptimisationSettings":
        if self.frozen.epochs + self.adapted.epochs == 0:
            raise ValueError("both stages have 0 epochs: nothing would be trained")
        return self


class ThresholdTarget(Settings):
    """What a threshold is chosen for, on validation.

    `f1`: the largest F1 that is to be expected of the calibrated probabilities; counted, where the
    rows were too few to calibrate. `agreement`: the most verdicts equal to the teacher's.
    `equal_rates`: as many positive verdicts as the teacher gives.
    `precision`: the lowest threshold whose precision reaches `precision`; where none does, the most
    precise one. `recall`: the highest threshold whose recall reaches `recall`.
    """

    target: Literal["f1", "agreement", "equal_rates", "precision", "recall"] = "f1"
    precision: float | None = Field(None, gt=0, le=1)
    recall: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _a_share_goes_with_its_target(self) -> "ThresholdTarget":
        for name, share in (("precision", self.precision), ("recall", self.recall)):
            if (self.target == name) != (share is not None):
                raise ValueError(f"`{name}` is given with `target: {name}`, and only then")
        return self

    @property
    def wanted(self) -> float | None:
        """The precision or recall asked for."""
        return self.precision if self.target == "precision" else self.recall


class ThresholdSettings(Settings):
    """A target per axis; a target written without an axis is for each axis that has none itself."""

    unsafe: ThresholdTarget = ThresholdTarget()
    not_grounded: ThresholdTarget = ThresholdTarget()

    @model_validator(mode="before")
    @classmethod
    def _one_target_for_both_axes(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        shared = {key: content[key] for key in ThresholdTarget.model_fields if key in content}
        named = {key: value for key, value in content.items() if key not in shared}
        return {**(dict.fromkeys(cls.model_fields, shared) if shared else {}), **named}


class Recipe(Settings):
    """One training, whole.

    `captions: true` lets a picture's description stand in where the picture is missing; `always`
    lets it stand in wherever there is one, for data with few pictures: what a handful of them
    teaches misleads on the next. Such rows are marked `caption` everywhere and are never reported
    as having been looked at.

    `committee` members share the frozen towers and divide all rows that aren't for testing into as
    many parts by item; each learns from all parts but its own, for a fixed number of epochs. So
    every row is learned from, and the calibrator and the thresholds come from what each member says
    of the part that it hasn't seen (cross-fitting). `channels` are fitted afterwards and decide
    with each member.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    preset: str = "pocket"
    tower_directory: Path | None = None
    seed: int = Field(7, ge=0)
    teacher: TeacherSettings
    split: SplitSettings
    windows: WindowPolicy = WindowPolicy()
    captions: Captions = False
    lora: LoraSettings = LoraSettings()
    pooling: PoolingSettings = PoolingSettings()
    fusion: FusionSettings = FusionSettings()
    committee: int = Field(1, ge=1, le=32)
    channels: ChannelSettings = ChannelSettings()
    optimisation: OptimisationSettings = OptimisationSettings()
    thresholds: ThresholdSettings = ThresholdSettings()

    @model_validator(mode="after")
    def _what_is_aligned_is_there(self) -> "Recipe":
        if not self.optimisation.alignment.wanted:
            return self
        if not self.fusion.match_width:
            raise ValueError("optimisation.alignment teaches a match: set fusion.match_width")
        if not self.optimisation.frozen.epochs:
            raise ValueError(
                "optimisation.alignment works on the frozen towers' vectors: give "
                "optimisation.frozen some epochs"
            )
        return self

    @model_validator(mode="after")
    def _a_committee_shares_its_towers(self) -> "Recipe":
        if self.committee > 1 and self.optimisation.adapted.epochs:
            raise ValueError(
                "a committee's members share the towers as they are, and adapters would have "
                "learned from every member's part: set optimisation.adapted.epochs to 0"
            )
        return self

    @model_validator(mode="after")
    def _a_probe_reads_frozen_towers(self) -> "Recipe":
        if self.channels.probe is not None and self.optimisation.adapted.epochs:
            raise ValueError(
                "channels.probe reads the towers as they are: set optimisation.adapted.epochs to 0"
            )
        return self


def load_recipe(name: str, *, overrides: tuple[str, ...] = ()) -> Recipe:
    """A recipe by the name it ships under, or by the path of a YAML file.

    Args:
        name: For example `msts-pocket`, or `my.yaml`.
        overrides: Each `section.key=value`.

    Raises:
        SettingsError: no such recipe or file, or it isn't valid.
    """
    return RECIPES.load(name, settings=Recipe, overrides=overrides)
