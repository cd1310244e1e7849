"""Pictures of a run: found once, known by content, and never outside their folder."""

import shutil

import numpy as np
import pytest

from nsgauge.data.images import image_digest
from nsgauge.errors import ScoringError
from nsgauge.eval.scoring.pictures import Picture, Pictures


@pytest.fixture
def folder(sample, tmp_path):
    first, second = sorted((sample / "images").iterdir())[:2]
    shutil.copy(first, tmp_path / "a.gif")
    shutil.copy(second, tmp_path / "b.gif")
    return tmp_path


def pictures(root) -> Pictures:
    return Pictures(root, side=32, resize="crop")


def test_a_picture_is_known_by_its_bytes(folder):
    found = pictures(folder).find("a.gif")
    assert found == Picture(image_digest((folder / "a.gif").read_bytes()), None)


@pytest.mark.parametrize(
    ("path", "fault"),
    [("c.gif", "missing"), ("../x.gif", "unsafe_path"), ("", "unsafe_path"), (".", "not_a_file")],
)
def test_a_picture_that_cannot_be_had_is_a_code(folder, path, fault):
    assert pictures(folder).find(path) == Picture(None, fault)


def test_a_link_out_of_a_data_folder_is_refused_and_a_callers_own_is_followed(folder):
    inside = folder / "data"
    inside.mkdir()
    (inside / "link.gif").symlink_to(folder / "a.gif")
    assert pictures(inside).find("link.gif").fault == "unsafe_path"
    assert pictures(None).find(str(inside / "link.gif")).fault is None


@pytest.mark.parametrize("path", ["a\0b.gif", "\ud800.gif", "", "x" * 5000])
def test_strange_paths_of_the_caller_are_codes_too(path):
    assert pictures(None).find(path).digest is None


def test_a_link_to_itself_is_a_code(tmp_path):
    (tmp_path / "loop.gif").symlink_to(tmp_path / "loop.gif")
    assert pictures(None).find(str(tmp_path / "loop.gif")).digest is None


def test_pixels_that_were_forgotten_are_read_again(folder):
    found = pictures(folder)
    digest = str(found.find("a.gif").digest)
    first = found.decode(digest)
    found.forget()
    np.testing.assert_array_equal(found.decode(digest), first)
    assert first.shape == (3, 32, 32)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_picture_that_changed_meanwhile_stops_the_run(folder, content):
    found = pictures(folder)
    digest = str(found.find("a.gif").digest)
    found.forget()
    (folder / "a.gif").write_bytes((folder / "b.gif").read_bytes() if content is None else content)
    with pytest.raises(ScoringError, match=r"a\.gif: changed while it was being scored"):
        found.decode(digest)
