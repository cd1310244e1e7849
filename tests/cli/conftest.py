"""Runs the command line in this process, as the console script would."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from nsgauge.cli.app import main
from nsgauge.data.sample.world import SampleSettings, write_sample

RECIPE = """\
name: tiny
seed: 1
teacher: {judges: [sample-judge]}
split: {salt: a, validation: 0.2, calibration: 0.2, test: 0.2}
windows: {layout: apart}
fusion: {width: 32, layers: 1}
lora: {rank: 2, alpha: 4}
optimisation:
  frozen: {epochs: 3, patience: 3}
  adapted: {epochs: 0}
"""


@dataclass(frozen=True)
class Told:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


Command = Callable[..., Told]


@pytest.fixture
def nsgauge(monkeypatch, capsys) -> Command:
    def command(*words: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["nsgauge", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return Told(int(stopped.value.code or 0), said.out, said.err)

    return command


@pytest.fixture
def refused(nsgauge) -> Callable[..., str]:
    """The one line that a mistake of the user's is answered with."""

    def line(*words: object):
        told = nsgauge(*words)
        assert told.code == 2, told
        lines = told.err.splitlines()
        assert len(lines) == 1, told.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in told.err
        return lines[0]

    return line


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "data"
    write_sample(folder, settings=SampleSettings(pictures_per_variant=1))
    return folder


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path
