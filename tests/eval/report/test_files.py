import csv
import io
import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.eval.report.files import CsvTable, csv_text, json_text, plain, write_whole


class Colour(StrEnum):
    RED = "red"


class Pair(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Thing:
    colour: Colour
    ends: Pair
    curve: np.ndarray
    by_colour: dict[Colour, float]


def test_results_become_json_by_name_with_null_for_nan():
    thing = Thing(Colour.RED, Pair(0.5, math.nan), np.array([1.0, math.inf]), {Colour.RED: 1.0})
    assert plain(thing) == {
        "colour": "red",
        "ends": {"low": 0.5, "high": None},
        "curve": [1.0, None],
        "by_colour": {"red": 1.0},
    }


def test_a_type_without_a_place_in_a_report_is_refused():
    with pytest.raises(TypeError, match="bytes"):
        plain({"raw": b"\x00"})


def test_json_can_stand_inside_a_page():
    text = json_text({"name": "</script><!-- & \u2028 \ud800"})
    assert not set("<>&\u2028") & set(text)
    assert text.isascii()
    assert json.loads(text) == {"name": "</script><!-- & \u2028 \ud800"}


@given(st.text())
def test_no_text_cell_begins_like_a_formula_and_all_of_it_is_kept(text):
    table = CsvTable(header=("name",), rows=((text,),))
    (_, *rest) = csv.reader(io.StringIO(csv_text(table), newline=""))
    cell = rest[0][0] if rest and rest[0] else ""
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.removeprefix("'").replace("\x00", "") in (
        text.replace("\x00", ""),
        text.replace("\x00", "").removeprefix("'"),
    )


def test_numbers_stay_numbers_and_nothing_is_an_empty_cell():
    table = CsvTable(
        header=("a", "b", "c", "d"), rows=((-0.5, 3, None, math.nan), (True, "", 0, 1))
    )
    assert csv_text(table).splitlines() == ["a,b,c,d", "-0.5,3,,", "true,,0,1"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_whole(path, text="old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, text="new")
    assert path.read_text() == "old"


def test_a_lone_surrogate_does_not_stop_the_page(tmp_path):
    write_whole(tmp_path / "page.html", text="a\ud800b")
    assert (tmp_path / "page.html").read_text() == "a?b"
