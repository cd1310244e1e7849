"""Pictures of a run: found once, known by content, and never outside their folder."""

import shutil

import numpy as np
import pytest
from PIL import Image

from nsgauge.data.images import image_digest
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.pictures import DECODED_AHEAD, Picture, Pictures


@pytest.fixture
def folder(sample, tmp_path):
    first, second = sorted((sample / "images").iterdir())[:2]
    shutil.copy(first, tmp_path / "a.gif")
    shutil.copy(second, tmp_path / "b.gif")
    return tmp_path


def pictures(root) -> Pictures:
    return Pictures(root, side=32, resize="crop")


def test_a_picture_is_known_by_its_bytes(folder):
    digest = image_digest((folder / "a.gif").read_bytes())
    shutil.copy(folder / "a.gif", folder / "copy.gif")
    found = pictures(folder).find(["a.gif", "b.gif", "copy.gif", "a.gif"])
    assert [found[0], found[2], found[3]] == [Picture(digest, None)] * 3
    assert found[1] != found[0]


@pytest.mark.parametrize(
    ("path", "fault"),
    [("c.gif", "missing"), ("../x.gif", "unsafe_path"), ("", "unsafe_path"), (".", "not_a_file")],
)
def test_a_picture_that_cannot_be_had_is_a_code(folder, path, fault):
    assert pictures(folder).find([path]) == [Picture(None, fault)]


def test_a_link_out_of_a_data_folder_is_refused_and_a_callers_own_is_followed(folder):
    inside = folder / "data"
    inside.mkdir()
    (inside / "link.gif").symlink_to(folder / "a.gif")
    assert pictures(inside).find(["link.gif"])[0].fault == "unsafe_path"
    assert pictures(None).find([str(inside / "link.gif")])[0].fault is None


@pytest.mark.parametrize("path", ["a\0b.gif", "\ud800.gif", "", "x" * 5000])
def test_strange_paths_of_the_caller_are_codes_too(path):
    assert pictures(None).find([path])[0].digest is None


def test_a_link_to_itself_is_a_code(tmp_path):
    (tmp_path / "loop.gif").symlink_to(tmp_path / "loop.gif")
    assert pictures(None).find([str(tmp_path / "loop.gif")])[0].digest is None


def found_in(source: Pictures, names: list[str]) -> dict[str, str]:
    return {str(p.digest): name for name, p in zip(names, source.find(names), strict=True)}


def test_many_pictures_are_decoded_in_the_order_asked(folder):
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(3 * DECODED_AHEAD)]
    drawn = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in names]
    for name, picture in zip(names, drawn, strict=True):
        Image.fromarray(picture).save(folder / name)
    source = pictures(folder)
    decoded = [held for _, held in source.decoded(found_in(source, names))]
    for picture, held in zip(drawn, decoded, strict=True):
        np.testing.assert_array_equal(held, picture.transpose(2, 0, 1))


def test_a_damaged_picture_has_no_pixels_and_is_decoded_once(folder, monkeypatch):
    content = (folder / "a.gif").read_bytes()
    (folder / "cut.gif").write_bytes(content[: len(content) // 2])
    source = pictures(folder)
    asked = found_in(source, ["cut.gif"])
    (digest,) = asked
    assert source.fault(digest) is None
    assert list(source.decoded(asked)) == [(digest, None)]
    assert source.fault(digest) == "damaged"
    monkeypatch.setattr("nsgauge.eval.scoring.pictures.pixels_of", None)
    assert list(source.decoded(asked)) == [(digest, None)]


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_picture_that_changed_meanwhile_stops_the_run(folder, content):
    source = pictures(folder)
    asked = found_in(source, ["a.gif"])
    (folder / "a.gif").write_bytes((folder / "b.gif").read_bytes() if content is None else content)
    with pytest.raises(ScoringError, match=r"a\.gif: changed while it was being scored"):
        list(source.decoded(asked))
