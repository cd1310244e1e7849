"""The coverage benchmark writes its lines one by one, and goes on where it was stopped."""

import csv

import pytest

from benchmarks.coverage import __main__ as command
from benchmarks.coverage.grid import Setting, grid

SETTINGS = [
    Setting(design="simple", items=120, judged=60, unsafe=0.5),
    Setting(design="two_hops", items=120, judged=80, human=50, unsafe=0.5),
]


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Runs the command on two settings; the lines of its table."""
    monkeypatch.setattr(command, "grid", lambda: iter(SETTINGS))
    out = tmp_path / "coverage.csv"

    def run(*words):
        command.main(["--out", str(out), "--worlds", "2", *words])
        return out, list(csv.DictReader(out.read_text().splitlines()))

    return run


def test_a_line_a_setting_and_none_twice(measured, capsys):
    out, lines = measured()
    assert [line["design"] for line in lines] == ["simple", "two_hops"]
    assert all(0 < float(line["narrowest"]) < float(line["finite_width"]) for line in lines)
    assert "benchmarks.coverage" in lines[0]["command"]
    whole = out.read_text()
    out.write_text(whole[: whole.rfind("two_hops") + 20])
    capsys.readouterr()
    assert [line["design"] for line in measured()[1]] == ["simple", "two_hops"]
    assert "two_hops" in capsys.readouterr().out
    measured()
    assert capsys.readouterr().out == ""


def test_the_grid_has_every_design_once_a_setting():
    settings = list(grid())
    assert len(set(settings)) == len(settings)
    assert {setting.design for setting in settings} == {
        "simple",
        "stratified",
        "active",
        "items",
        "two_hops",
    }
