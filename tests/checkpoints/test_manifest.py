"""The manifest: what it counts, and what bundles of before a field was kept still say."""

import pytest

from nsgauge.checkpoints.manifest import BundleManifest, ThresholdChoice


def chosen(*, positives=10, called=8, hits=6) -> ThresholdChoice:
    return ThresholdChoice(
        target="precision",
        wanted=0.9,
        reached=False,
        threshold=0.7,
        rows=40,
        positives=positives,
        called=called,
        hits=hits,
        precision_low=0.4,
        recall_low=None,
    )


def test_a_threshold_choice_survives_being_written_and_read(manifest: BundleManifest):
    training = manifest.training.model_copy(update={"thresholds": {"unsafe": chosen()}})
    written = manifest.model_copy(update={"training": training}).model_dump_json()
    assert BundleManifest.model_validate_json(written).training.thresholds == {"unsafe": chosen()}


def test_shares_of_nothing_are_undefined_not_zero():
    assert chosen().precision == pytest.approx(0.75)
    assert chosen().recall == pytest.approx(0.6)
    assert chosen(called=0, hits=0).precision is None
    assert chosen(positives=0, hits=0).recall is None
