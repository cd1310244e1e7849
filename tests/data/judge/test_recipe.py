import pytest

from nsgauge.data.judge.prompt import JUDGE_PROMPTS, JudgePrompt
from nsgauge.data.judge.recipe import DEFAULT_PROMPT, JUDGE_RECIPES, JudgeRecipe
from nsgauge.errors import SettingsError


def recipe(**content):
    return JudgeRecipe.from_mapping({"model": "m", **content}, source="test")


@pytest.mark.parametrize("name", JUDGE_RECIPES.names())
def test_every_shipped_recipe_loads_with_its_prompt(name):
    loaded = JUDGE_RECIPES.load(name, settings=JudgeRecipe)
    assert JUDGE_PROMPTS.load(loaded.prompt, settings=JudgePrompt).name == loaded.prompt


def test_the_default_prompt_ships():
    assert DEFAULT_PROMPT in JUDGE_PROMPTS.names()


def test_a_recipe_survives_being_written_and_read():
    full = recipe(price={"input_per_million": 1, "output_per_million": 2}, limits={"max_cost": 3})
    assert JudgeRecipe.from_mapping(full.model_dump(mode="json"), source="test") == full


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({}, "m"),
        ({"judge": "me"}, "me"),
        ({"prompt": "siuo-safety"}, "m (siuo-safety)"),
        ({"prompt": "folder/mine.yaml"}, "m (mine)"),
        ({"prompt": "siuo-safety", "judge": "me"}, "me"),
    ],
)
def test_judges_with_different_questions_have_different_names(content, name):
    assert recipe(**content).judge_name == name


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"model": ""}, "model"),
        ({"votes": 0}, "votes"),
        ({"limits": {"max_cost": 1.0}}, "price.input_per_million"),
        ({"limits": {"max_cost": 0}}, "max_cost"),
        ({"limits": {"max_calls": 0}}, "max_calls"),
        ({"limits": {"concurrency": 0}}, "concurrency"),
        ({"sampling": {"temperature": 3}}, "temperature"),
        ({"sampling": {"structured": "maybe"}}, "structured"),
        ({"picture": {"show": "thumbnail"}}, "show"),
        ({"price": {"input_per_million": -1, "output_per_million": 0}}, "input_per_million"),
        ({"endpoint": {"api_key": "secret"}}, "api_key_variable"),
    ],
)
def test_a_wrong_setting_is_named(content, named):
    with pytest.raises(SettingsError, match=named):
        recipe(**content)


def test_no_setting_holds_a_key():
    dumped = JUDGE_RECIPES.load("openai", settings=JudgeRecipe).model_dump(mode="json")
    assert [key for key in dumped["endpoint"] if "key" in key] == ["api_key_variable"]
