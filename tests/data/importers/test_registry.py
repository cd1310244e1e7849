from pathlib import Path

import pytest

from nsgauge.data.importers.contract import ImportOptions
from nsgauge.data.importers.registry import FORMATS
from nsgauge.errors import DataError, SettingsError


def test_what_cannot_start_says_why(run_import, tmp_path):
    with pytest.raises(SettingsError, match=r"no format 'excel'; known: auto, .*msts"):
        run_import("excel", tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        run_import("table", tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"holds no file of \.csv"):
        run_import("table", tmp_path / "folder.csv")


def test_a_failed_import_leaves_nothing_behind(run_import, jsonl, tmp_path):
    rows = [{"prompt": "p", "response": "r", "safety": "maybe"}]
    path = jsonl(rows)
    with pytest.raises(DataError, match="no meaning"):
        run_import("table", path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("filter", "strict-match", "--filter"),
        ("languages", ["all"], "--language"),
        ("strict", True, "--strict"),
        ("dataset", Path("data.json"), "--dataset"),
    ],
)
def test_an_option_that_the_format_does_not_read_is_refused(run_import, jsonl, option, value, said):
    path = jsonl([{"prompt": "p", "response": "r"}])
    with pytest.raises(SettingsError, match=f"the format table has no use for {said}: leave"):
        run_import("auto", path, **{option: value})


def test_every_format_reads_options_that_there_are():
    for known in FORMATS.values():
        assert known.options < set(ImportOptions.model_fields)


def test_auto_takes_any_table_whose_columns_are_told(run_import, jsonl):
    path = jsonl([{"question": "p", "answer": "r"}])
    with pytest.raises(DataError, match=r"of no format known by its look.*--map says which"):
        run_import("auto", path)
    outcome = run_import("auto", path, mapping=["question=prompt", "answer=response"])
    assert [(t.prompt, t.response) for t in outcome.triples] == [("p", "r")]
