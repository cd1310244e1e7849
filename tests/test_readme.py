"""What the README shows can be typed: commands, options, names and paths exist."""

import ast
import importlib
import re
import shlex
import typing
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel
from typer.core import TyperGroup

import nsgauge
from nsgauge.cli.app import app
from nsgauge.data.importers.mapping import FIELDS
from nsgauge.records import SCORES_SCHEMA
from nsgauge.train.recipe import Recipe, StageSettings, load_recipe

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README + TRAINING, flags=re.DOTALL)


def commands() -> list[str]:
    """Every `nsgauge ...` line of a block, continued lines joined."""
    lines = "\n".join(body for _, body in BLOCKS).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("nsgauge ")]


@pytest.mark.parametrize("line", commands())
def test_a_command_has_the_options_that_it_is_shown_with(line):
    _, name, *arguments = shlex.split(line, comments=True)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands[name]
    # Parsing calls nothing; an unknown option or a missing argument is an error here.
    command.make_context(name, arguments)


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_python_blocks_use_names_that_exist():
    blocks = python_blocks(README)
    assert blocks
    for body in blocks:
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and node.module == "nsgauge":
                assert {name.name for name in node.names} <= set(nsgauge.__all__)


def test_the_page_about_python_imports_what_exists_and_its_rates_can_be_run(capsys):
    report, rates = python_blocks((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    for node in ast.walk(ast.parse(report)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, name.name) for name in node.names)
    exec(rates, {})  # noqa: S102 (the page's own words)
    said = capsys.readouterr().out
    assert said.count("judged") >= 3


def test_paths_and_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (demo|test|check|clean)\b", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for path in re.findall(r"\b(?:src|docs|benchmarks|tests)/[\w./-]*[\w/]", README):
        assert (ROOT / path).exists(), path


def test_it_stays_short():
    assert len(README.splitlines()) <= 200


def recipe_keys(settings: type[BaseModel], prefix: str = "") -> set[str]:
    """Every key of a recipe, dotted; the stages' keys once."""
    found = set()
    for name, field in settings.model_fields.items():
        kinds = [field.annotation, *typing.get_args(field.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for kind in inner:
            within = "" if kind is StageSettings else f"{prefix}{name}."
            found |= recipe_keys(kind, within)
        if not inner:
            found.add(f"{prefix}{name}")
    return found


def test_every_key_of_a_recipe_is_explained_and_no_other():
    table = TRAINING.partition("## Every key")[2].partition("##")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    told = {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}
    assert told - {"optimisation.frozen.*", "optimisation.adapted.*"} == recipe_keys(Recipe)


def test_every_column_of_scores_is_explained():
    table = TRAINING.partition("## What `score` writes")[2].partition("##")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    told = [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]
    assert sorted(told) == sorted(SCORES_SCHEMA.names)


def test_every_field_of_a_table_is_named():
    listed = TRAINING.partition("Fields that a")[2].partition("\n- ")[0]
    assert set(re.findall(r"`([^`]+)`", listed)) == set(FIELDS)


@pytest.mark.parametrize("line", [line for line in commands() if " train " in line])
def test_a_training_that_is_shown_has_a_recipe_that_is_valid(line):
    words = shlex.split(line, comments=True)[2:]
    overrides = tuple(word for word in words[1:] if "=" in word)
    assert load_recipe(words[0], overrides=overrides).teacher.judges
