"""Recipes: what ships is valid, what is wrong is named."""

import pytest
import yaml

from nsgauge.data.targets import Consensus
from nsgauge.errors import SettingsError
from nsgauge.train.recipe import (
    RECIPES,
    Recipe,
    TeacherSettings,
    ThresholdSettings,
    ThresholdTarget,
    load_recipe,
)


@pytest.mark.parametrize("name", RECIPES.names())
def test_every_shipped_recipe_loads_and_bears_its_own_name(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_shipped_recipe_states_its_command_its_time_and_its_result(name, pytestconfig):
    folder = pytestconfig.rootpath / "src" / "nsgauge" / "train" / "recipes"
    head = (folder / f"{name}.yaml").read_text(encoding="utf-8").split("name:")[0]
    assert "#   nsgauge " in head
    assert "# Time:" in head
    assert "# Result" in head


def test_a_recipe_survives_being_written_and_read(tmp_path):
    recipe = load_recipe("sample-pocket")
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


def test_overrides_reach_nested_keys():
    recipe = load_recipe("sample-pocket", overrides=("optimisation.frozen.epochs=9", "seed=3"))
    assert (recipe.optimisation.frozen.epochs, recipe.seed) == (9, 3)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("optimisation.epochs=3", "epochs"),
        ("lora.rank=0", "rank"),
        ("seed", "seed"),
        ("teacher.consensus=dawid_skene", "needs 3 judges, 1 named"),
        ("teacher.consensus=vote", "consensus"),
        (
            "teacher={judges: [a, b, c], consensus: dawid_skene, categories: true}",
            "which no dawid_skene weighs",
        ),
        ("split.test=0.95", "none to train on"),
        ("thresholds.unsafe.target=precision", "precision"),
        ("thresholds.recall=0.8", "given with `target: recall`"),
        ("thresholds.unsafe.precision=1.5", "precision"),
        ("thresholds.safe.target=f1", "known here: not_grounded, unsafe"),
    ],
)
def test_a_wrong_override_is_named_in_one_line(override, named):
    with pytest.raises(SettingsError, match=named) as caught:
        load_recipe("sample-pocket", overrides=(override,))
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(SettingsError, match="sample-pocket"):
        load_recipe("nosuch")


def test_a_teacher_is_pooled_unless_it_says_otherwise():
    teacher = {"judges": ["a", "b", "c"]}
    assert TeacherSettings.from_mapping(teacher, source="test").consensus is Consensus.POOLED
    agreed = TeacherSettings.from_mapping({**teacher, "consensus": "dawid_skene"}, source="test")
    assert agreed.consensus is Consensus.DAWID_SKENE


def test_a_target_without_an_axis_is_for_the_axes_that_have_none():
    both = ThresholdSettings.from_mapping({"target": "recall", "recall": 0.8}, source="test")
    wanted = ThresholdTarget(target="recall", recall=0.8)
    assert (both.unsafe, both.not_grounded) == (wanted, wanted)
    split = {"target": "equal_rates", "unsafe": {"target": "precision", "precision": 0.9}}
    mixed = ThresholdSettings.from_mapping(split, source="test")
    assert (mixed.unsafe.wanted, mixed.not_grounded.target) == (0.9, "equal_rates")
    recipe = load_recipe("sample-pocket", overrides=("thresholds.target=equal_rates",))
    assert recipe.thresholds.unsafe == recipe.thresholds.not_grounded
    assert recipe.thresholds.unsafe.target == "equal_rates"


def test_a_training_without_epochs_is_refused():
    stage = {"epochs": 0}
    with pytest.raises(SettingsError, match="nothing would be trained"):
        Recipe.from_mapping(
            {
                "name": "idle",
                "teacher": {"judges": ["a"]},
                "split": {},
                "optimisation": {"frozen": stage, "adapted": stage},
            },
            source="test",
        )


PLAIN = {"name": "plain", "teacher": {"judges": ["a"]}, "split": {}}
COMMITTEE = {**PLAIN, "committee": 3}


def test_a_committee_on_towers_that_adapt_is_refused():
    with pytest.raises(SettingsError, match=r"set optimisation\.adapted\.epochs to 0"):
        Recipe.from_mapping(COMMITTEE, source="test")
    frozen = {"optimisation": {"adapted": {"epochs": 0}}}
    assert Recipe.from_mapping({**COMMITTEE, **frozen}, source="test").committee == 3
    assert Recipe.from_mapping({**COMMITTEE, "committee": 1}, source="test").committee == 1


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("committee=0", "committee"),
        ("committee=33", "committee"),
        ("committee=5", "adapted"),
        ("pooling.queries=65", "queries"),
        ("channels.lexical.share=1", "share"),
        ("channels.probe.share=0.5", "adapted"),
        ("channels.fit_shares=true", "fit_shares is for channels, and there are none"),
        ("windows.caption_tokens=-1", "caption_tokens"),
    ],
)
def test_a_committee_out_of_bounds_is_named(override, named):
    with pytest.raises(SettingsError, match=named):
        load_recipe("msts-pocket", overrides=(override,))


def test_channels_that_leave_the_fusion_no_share_are_refused():
    shares = ("channels.language.share=0.8", "channels.probe.share=0.2")
    with pytest.raises(SettingsError, match="sum to 1, which leaves the fusion none"):
        load_recipe("msts-mpnet", overrides=shares)


def test_what_makes_a_committee_is_left_out_unless_asked_for():
    recipe = Recipe.from_mapping(PLAIN, source="test")
    assert (recipe.committee, recipe.pooling.queries, recipe.channels.wanted) == (1, 0, False)
    assert not recipe.teacher.categories


def test_one_judge_may_be_named_without_a_list():
    recipe = load_recipe("sample-pocket", overrides=("teacher.judges=gpt-4o",))
    assert recipe.teacher.judges == ("gpt-4o",)
