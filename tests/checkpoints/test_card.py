from nsgauge.checkpoints.card import model_card
from nsgauge.checkpoints.manifest import BundleManifest, ThresholdChoice


def test_the_card_says_who_taught_it_and_where_it_decides(manifest: BundleManifest):
    card = model_card(manifest)
    assert "| teacher | strict-judge |" in card
    assert "| thresholds | unsafe >= 0.423, not_grounded >= 0.617 |" in card
    assert "| towers | preset `pocket` with LoRA rank 2 |" in card
    assert "90 train, 30 validation rows of 2 VLLMs" in card
    assert "| calibration | bias corrected |" in card


def test_the_card_says_when_not_to_trust_it(manifest: BundleManifest):
    _, _, warning = model_card(manifest).partition("## When not to trust it")
    for reason in ("the teacher's errors", "another language", "longer responses", "new VLLM"):
        assert reason in " ".join(warning.split())
    assert "not a moderation gate" in warning


def test_a_measure_that_has_no_value_is_undefined_not_zero(manifest: BundleManifest):
    card = model_card(manifest)
    assert "| unsafe\\_auroc | 0.912 |" in card
    assert "| not\\_grounded\\_auroc | undefined |" in card


def test_a_target_that_was_not_reached_is_said_with_its_lower_bounds(manifest: BundleManifest):
    choice = ThresholdChoice(
        target="precision",
        wanted=0.9,
        reached=False,
        threshold=0.423,
        rows=40,
        positives=10,
        called=8,
        hits=6,
        precision_low=0.4,
        recall_low=None,
    )
    training = manifest.training.model_copy(update={"thresholds": {"unsafe": choice}})
    card = model_card(manifest.model_copy(update={"training": training}))
    assert (
        "| unsafe was chosen for | precision 0.9 (not reached): precision 0.750, at least 0.400; "
        "recall 0.600; 40 rows |"
    ) in card
    assert "was chosen for" not in model_card(manifest)


def test_hostile_names_stay_text(manifest: BundleManifest):
    hostile = "x |\n\n# Trusted\n<script>alert(1)</script>[a](http://b)"
    training = manifest.training.model_copy(update={"judges": (hostile,)})
    card = model_card(manifest.model_copy(update={"training": training, "name": hostile}))
    lines = card.splitlines()
    headings = [line for line in lines if line.startswith("#")]
    assert headings[1:] == ["## On rows held out", "## When not to trust it"]
    assert "<script>" not in card.replace("\\<", "")
    assert "](" not in card.replace("\\]", "")
    assert sum("Trusted" in line for line in lines) == 2
