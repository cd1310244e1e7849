import zipfile
from datetime import date

import pytest
from openpyxl import Workbook

from nsgauge.data.importers.reading import archive
from nsgauge.data.importers.reading.records import records_of
from nsgauge.data.importers.reading.workbook import read_xlsx
from nsgauge.errors import DataError


def test_cells_read_as_a_person_would_see_them(tmp_path):
    book = Workbook()
    for cells in (
        list("abcdefgh"),
        ["007", 7.0, True, 0.1, "NA", "=1+1", "x_x000D_\ny", date(2025, 1, 2)],
        [None],
        ["#N/A", -1, "", None, None, None, " "],
    ):
        book.active.append(cells)
    book.create_sheet().append(["elsewhere"])
    path = tmp_path / "a.xlsx"
    book.save(path)
    found = records_of(read_xlsx(path))
    assert [row.where for row in found] == ["a.xlsx row 1", "a.xlsx row 3"]
    first, last = (list(row.values.values()) for row in found)
    assert first == ["007", "7", "TRUE", "0.1", "NA", "=1+1", "x\r\ny", "2025-01-02T00:00:00"]
    assert last == ["#N/A", "-1", "", "", "", "", " ", ""]


def test_a_row_with_cells_beyond_the_header_is_a_reject(tmp_path):
    book = Workbook()
    for cells in (["a", "b", None], [1, 2], [1, 2, 3]):
        book.active.append(cells)
    book.save(tmp_path / "a.xlsx")
    found = list(read_xlsx(tmp_path / "a.xlsx"))
    assert [getattr(row, "reason", "read") for row in found] == ["read", "ragged_row"]


def test_a_workbook_that_is_none_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"PK\x03\x04 oops")
    with pytest.raises(DataError, match="not a readable ZIP file"):
        list(read_xlsx(path))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("hello.txt", "hello")
    with pytest.raises(DataError, match="not a readable xlsx file"):
        list(read_xlsx(path))
    for header in ([], ["a", "a"], ["a", None, "b"]):
        book = Workbook()
        book.active.append(header)
        book.save(path)
        with pytest.raises(DataError, match="wanted distinct column names"):
            list(read_xlsx(path))
    monkeypatch.setattr(archive, "TOTAL_BYTES_LIMIT", 100)
    with pytest.raises(DataError, match="at most 100"):
        list(read_xlsx(path))
