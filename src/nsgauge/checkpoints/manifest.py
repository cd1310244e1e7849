"""The bundle's manifest: `bundle.json`, everything about a saved classifier but its weights."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from nsgauge.models.calibrator import Calibrator
from nsgauge.models.network import NetworkSettings
from nsgauge.models.preset import Preset
from nsgauge.models.windows import Captions, WindowPolicy
from nsgauge.settings import Settings

FORMAT: Literal[7] = 7

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Thresholds(Settings):
    """A verdict is positive where the calibrated probability reaches the threshold."""

    unsafe: Probability
    not_grounded: Probability


class ThresholdChoice(Settings):
    """How a threshold was chosen on validation, and what it gave there; so these shares flatter.

    Attributes:
        target: `f1`, `agreement`, `equal_rates`, `precision` or `recall`.
        wanted: The precision or recall asked for; None for the other targets.
        reached: Whether the target was met; if not, the nearest threshold to it was taken, or 0.5
            where one class was missing.
        threshold: Verdicts are positive from here on.
        rows: Validation rows with a label on the axis.
        positives: Of those, positive by the teacher.
        called: Of all, called positive.
        hits: Rows that are both.
        precision_low: Lower end of the one-sided 95% interval of the precision, items kept
            together; None where fewer than two items were called positive.
        recall_low: Likewise of the recall.
    """

    target: str
    wanted: Probability | None
    reached: bool
    threshold: Probability
    rows: int = Field(ge=0)
    positives: int = Field(ge=0)
    called: int = Field(ge=0)
    hits: int = Field(ge=0)
    precision_low: Probability | None
    recall_low: Probability | None

    @property
    def precision(self) -> float | None:
        """Share of the rows called positive that are; None where none was called."""
        return self.hits / self.called if self.called else None

    @property
    def recall(self) -> float | None:
        """Share of the positive rows that were called so; None without any."""
        return self.hits / self.positives if self.positives else None


class TrainingFacts(Settings):
    """Where a classifier comes from.

    Attributes:
        judges: The teacher.
        target_making: How the judges' votes became targets, by `unsafe` and `not_grounded`.
        prompt_hashes: Of the judges' instructions, where the data knew them.
        data_fingerprint: Of the data folder trained on.
        vllms: Whose answers were trained on.
        rows: Per side of the split.
        left_out: Rows of the data folder not used, by reason.
        recipe: As resolved.
        validation: Name to number, as measured on validation when thresholds were chosen.
        thresholds: How they were chosen, by axis.
        seconds: Training took.
        versions: Of the libraries.
        created: UTC, ISO 8601.
    """

    judges: tuple[str, ...]
    target_making: dict[str, str]
    prompt_hashes: tuple[str, ...]
    data_fingerprint: str
    vllms: tuple[str, ...]
    rows: dict[str, int]
    left_out: dict[str, int]
    recipe: dict[str, Any]
    validation: dict[str, float | None]
    thresholds: dict[str, ThresholdChoice]
    seconds: float
    versions: dict[str, str]
    created: str


class BundleManifest(Settings):
    """Contents of `bundle.json`.

    `preset` and `language_preset` are whole, for a file that a recipe named may be gone; the latter
    is of the language model of a channel of that name, None without one.
    """

    format: Literal[7] = FORMAT
    name: str
    nsgauge_version: str
    preset: Preset
    language_preset: Preset | None = None
    tower_directory: str | None
    tower_fingerprint: str
    windows: WindowPolicy
    captions: Captions
    network: NetworkSettings
    calibrator: Calibrator
    thresholds: Thresholds
    training: TrainingFacts
    files: dict[str, str]

    @model_validator(mode="after")
    def _a_language_channel_has_its_model(self) -> "BundleManifest":
        if (self.language_preset is None) != (self.network.channels.language is None):
            raise ValueError("language_preset goes with network.channels.language, and only so")
        return self
