import pytest

from nsgauge.errors import DataError, SettingsError


def test_what_cannot_start_says_why(run_import, tmp_path):
    with pytest.raises(SettingsError, match=r"no format 'excel'; known: auto, .*msts"):
        run_import("excel", tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        run_import("table", tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="not a file"):
        run_import("table", tmp_path / "folder.csv")


def test_a_failed_import_leaves_nothing_behind(run_import, jsonl, tmp_path):
    rows = [{"prompt": "p", "response": "r", "safety": "maybe"}]
    path = jsonl(rows)
    with pytest.raises(DataError, match="no meaning"):
        run_import("table", path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
