import zipfile

import pytest

from nsgauge.data.importers.reading import archive
from nsgauge.data.importers.reading.archive import opened_archive, read_member
from nsgauge.errors import DataError


@pytest.mark.parametrize("limit", ["MEMBER_BYTES_LIMIT", "TOTAL_BYTES_LIMIT"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(limit, zip_method, tmp_path, monkeypatch):
    path = tmp_path / "bomb.eval"
    with zipfile.ZipFile(path, "w", compression=zip_method) as file:
        file.writestr("header.json", b"0" * 2_000_000)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(archive, limit, 1_000_000)
    with pytest.raises(DataError, match=r"unpacks to 2000000 bytes.*1000000"), opened_archive(path):
        pass


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_said(tmp_path):
    path = tmp_path / "liar.eval"
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", b"0" * 2_000_000)
    content = path.read_bytes().replace((2_000_000).to_bytes(4, "little"), b"\x10\0\0\0")
    path.write_bytes(content)
    with (
        opened_archive(path) as opened,
        pytest.raises(DataError, match="can't be unpacked: Bad CRC"),
    ):
        read_member(opened, "header.json")
    with opened_archive(path) as opened, pytest.raises(DataError, match="no member"):
        read_member(opened, "../x")
