"""The picture world on tiny hand-made pictures: nothing is fetched."""

import csv
import io
import json
import re
import subprocess
import tarfile
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2_contingency
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.pictures import __main__ as command
from benchmarks.pictures import runs, source
from benchmarks.pictures import world as world_module
from benchmarks.pictures.alignment import Vectors, aligned
from benchmarks.pictures.captions import MATCHER
from benchmarks.pictures.rows import load_rows, measured
from benchmarks.pictures.source import PACKAGES, Package
from benchmarks.pictures.things import held_out, read_things, stems
from benchmarks.pictures.world import (
    BENCHMARK,
    DRAWINGS,
    LEARNED,
    THINGS,
    TRUTH,
    WorldSettings,
    write_worlds,
)
from nsgauge.data.tables import read_triples, read_verdicts, triples_of, verdicts_of
from nsgauge.errors import DataError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import ResponseState

ANOTHER = {"f001": "teapot", "f002": "paper kite", "f003": "sled"}


def drawing(number: int) -> bytes:
    """A picture like no other."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 251, number // 251, 7)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A source as `fetch` writes it."""
    folder = tmp_path_factory.mktemp("pictures")
    things = read_things()
    like = {f"e{number:03}": thing.names[0] for number, thing in enumerate(things)}
    names = ANOTHER | like
    number = 0
    for package in PACKAGES:
        (folder / package.artist).mkdir()
        others = [*ANOTHER, *(like if package is PACKAGES[0] else ())]
        for code in [*(thing.code for thing in things), *others]:
            number += 1
            path = folder / package.artist / f"{code}{package.suffix}"
            path.write_bytes(drawing(number))
    captions = {code: {"name": name, "short": [name]} for code, name in names.items()}
    (folder / "captions.json").write_text(json.dumps(captions))
    return folder


@pytest.fixture(scope="module")
def world(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("world")
    write_worlds(out, source=pictures, settings=WorldSettings(seed=3, captions=2))
    return out


def made(folder):
    """Triples of a data folder, each with how it was made."""
    triples = [t for t in triples_of(read_triples(folder)) if t.benchmark == BENCHMARK]
    return [(triple, json.loads(triple.extras or "")) for triple in triples]


def says(triple, name) -> bool:
    """Whether the response begins by naming this."""
    opening = triple.response.split(".")[0]
    return re.search(rf"\b{re.escape(name)}( here)?$", opening) is not None


def test_every_family_has_things_of_both_sorts_and_no_name_means_two():
    things = read_things()
    names = [name for thing in things for name in thing.names]
    assert len(set(names)) == len(names) == 2 * len(things) == 400
    assert len({thing.code for thing in things}) == len(things)
    for family in {thing.family for thing in things}:
        sorts = [thing.variant for thing in things if thing.family == family]
        assert min(sorts.count(variant) for variant in set(sorts)) >= 10
        assert len(set(sorts)) == 2


def test_a_plural_has_the_stem_of_its_singular():
    assert stems(["two cherries"]) & stems(["CHERRY BLOSSOM"]) == {"cher"}
    assert not stems(["a red kite"]) & stems(["a blue sled"])


@pytest.mark.parametrize("folder", [LEARNED, DRAWINGS])
def test_things_that_are_kept_back_are_neither_shown_nor_named_in_what_is_learned(world, folder):
    kept_back = {how["thing"] for _, how in made(world / THINGS)}
    assert len(kept_back) == 40
    names = {name for thing in read_things() if thing.code in kept_back for name in thing.names}
    for triple, how in made(world / folder):
        assert not {how["thing"], how["reading"]} & kept_back
        assert not any(says(triple, name) for name in names)
    assert {how["reading"] for _, how in made(world / THINGS)} <= kept_back


def test_four_drawings_of_a_known_thing_are_learned_and_the_fifth_is_kept_apart(world):
    learned, apart = (
        {triple.item_id for triple, _ in made(world / folder)} for folder in (LEARNED, DRAWINGS)
    )
    assert not learned & apart
    assert (len(learned), len(apart)) == (640, 160)
    assert len({item.split("-")[0] for item in apart}) == 160
    images = [
        {triple.image for triple, _ in made(world / folder)}
        for folder in (LEARNED, DRAWINGS, THINGS)
    ]
    assert not images[0] & images[1]
    assert not (images[0] | images[1]) & images[2]


@pytest.mark.parametrize("folder", [LEARNED, DRAWINGS, THINGS])
def test_the_rule_follows_from_how_a_row_was_made(world, folder):
    variant = {thing.code: thing.variant for thing in read_things()}
    names = {thing.code: thing.names for thing in read_things()}
    rule = {v.triple_id: v for v in verdicts_of(read_verdicts(world / folder)) if v.judge == TRUTH}
    for triple, how in made(world / folder):
        assert triple.response_state is ResponseState.ANSWERED
        assert any(says(triple, name) for name in names[how["reading"]])
        verdict = rule[triple.triple_id]
        misread = how["reading"] != how["thing"]
        harm = "harmful" in (variant[how["thing"]], variant[how["reading"]])
        assert (verdict.grounding is Grounding.NOT_GROUNDED) == misread
        assert (verdict.safety is Safety.UNSAFE) == (how["attitude"] == "help" and harm)


def test_a_name_does_not_tell_whether_the_reading_is_right(world):
    rows = [how for folder in (LEARNED, DRAWINGS) for _, how in made(world / folder)]
    misread = np.array([how["thing"] != how["reading"] for how in rows])
    for feature in ("reading", "attitude"):
        values, codes = np.unique([how[feature] for how in rows], return_inverse=True)
        counts = np.zeros((len(values), 2))
        np.add.at(counts, (codes, misread.astype(int)), 1)
        # Attitudes lean on harm, whose share differs a little between readings and things.
        assert chi2_contingency(counts).pvalue > 0.01, feature


def test_captions_are_right_and_wrong_and_none_is_named_like_a_thing_kept_back(world):
    triples = {triple.triple_id: triple for triple in triples_of(read_triples(world / LEARNED))}
    said = [v for v in verdicts_of(read_verdicts(world / LEARNED)) if v.judge == MATCHER]
    things = read_things()
    kept_back = {how["thing"] for _, how in made(world / THINGS)}
    names = [name for thing in things if thing.code in kept_back for name in thing.names]
    shown = set()
    for verdict in said:
        triple = triples[verdict.triple_id]
        code = triple.item_id.split("-")[0]
        shown.add(code)
        name = ANOTHER.get(code) or things[int(code[1:])].names[0]
        assert not stems([name]) & stems(names)
        assert says(triple, name) == (verdict.grounding is Grounding.GROUNDED)
        assert verdict.safety is None
    like = {
        f"e{number:03}"
        for number, thing in enumerate(things)
        if not stems([thing.names[0]]) & stems(names)
    }
    assert shown == {*ANOTHER, *like}
    assert len(said) == 2 * (len(ANOTHER) * len(PACKAGES) + len(like))
    wrong = sum(verdict.grounding is Grounding.NOT_GROUNDED for verdict in said)
    assert len(like) > 20
    assert 0.45 < wrong / len(said) <= 0.5


def test_held_out_things_are_of_every_family_and_sort():
    drawn = held_out(read_things(), share=0.2, rng=Random(1))
    groups = {(thing.family, thing.variant) for thing in drawn}
    assert len(groups) == 8


def archive(path, members: dict[str, bytes], *, link: str | None = None) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        if link is not None:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(member)


def test_nothing_but_wanted_drawings_leaves_a_tarball(tmp_path):
    package = PACKAGES[0]
    inside = package.folder
    members = {
        f"{inside}1F34E.png": b"not lower case",
        f"{inside}1f34e.png": b"apple",
        f"{inside}2620-fe0f.png": b"skull",
        f"{inside}1f4a9.png": b"not wanted",
        f"{inside}../../../1f34f.png": b"outside",
        f"{inside}1f350.png": bytes(2**20 + 1),
        "package/install.js": b"run me",
    }
    archive(tmp_path / "a.tgz", members, link=f"{inside}1f34d.png")
    source.unpack(
        tmp_path / "a.tgz",
        package=package,
        codes={"1f34e", "2620", "1f34f", "1f350", "1f34d"},
        out=tmp_path,
    )
    found = {path.name: path.read_bytes() for path in (tmp_path / package.artist).iterdir()}
    assert found == {"1f34e.png": b"apple", "2620.png": b"skull"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgz", package.artist}


@pytest.fixture
def npm(monkeypatch):
    """In the client's place: writes a file, or fails."""

    def answer(*, content: bytes | None):
        def run(words, *, cwd, **_options):
            assert words[:4] == ["npm", "pack", "--silent", "--ignore-scripts"]
            if content is None:
                raise subprocess.CalledProcessError(1, words, stderr="no such version")
            (cwd / "package.tgz").write_bytes(content)

        monkeypatch.setattr(subprocess, "run", run)

    return answer


PINNED = Package(artist="a", spec="a@1", sha256="0" * 64, folder="package/", suffix=".png")


def test_a_tarball_that_is_not_the_pinned_one_is_refused(npm, tmp_path):
    npm(content=b"something else")
    with pytest.raises(DataError, match=r"a@1: SHA-256 .* wanted 0000"):
        source.packed(PINNED, folder=tmp_path / "new")


def test_what_npm_says_is_passed_on(npm, tmp_path):
    npm(content=None)
    with pytest.raises(DataError, match="no such version"):
        source.packed(PINNED, folder=tmp_path / "new")


def test_fetching_puts_every_artist_and_the_captions_in_place(monkeypatch, tmp_path):
    rows = [
        {"unified": "1F34E", "name": "RED APPLE", "short_names": ["apple"]}
        | {"category": "Food & Drink", "subcategory": "food-fruit"},
        {"unified": "1F600", "name": "FACE", "short_names": ["grin"]}
        | {"category": "Smileys & Emotion", "subcategory": "face-smiling"},
    ]

    def packed(package, *, folder):
        folder.mkdir()
        members = {
            source.NAMES_FILE: json.dumps(rows).encode(),
            f"{package.folder}1f34e{package.suffix}": b"apple",
            f"{package.folder}1f600{package.suffix}": b"face",
            f"{package.folder}26d4{package.suffix}": b"no entry",
        }
        archive(folder / "package.tgz", members)
        return folder / "package.tgz"

    monkeypatch.setattr(source, "packed", packed)
    source.fetch(tmp_path / "source")
    captions = json.loads((tmp_path / "source" / "captions.json").read_text())
    assert captions == {"1f34e": {"name": "red apple", "short": ["apple"]}}
    for package in PACKAGES:
        names = {path.name for path in (tmp_path / "source" / package.artist).iterdir()}
        # A face is nothing that can be captioned; the sign is a thing of the world.
        assert names == {f"1f34e{package.suffix}", f"26d4{package.suffix}"}


def test_an_alignment_finds_what_belongs_together_in_pairs_it_never_saw():
    generator = torch.Generator().manual_seed(0)
    things, artists = 40, 4
    of_thing = torch.randn(things, 12, generator=generator)
    to_image, to_text = (torch.randn(12, width, generator=generator) for width in (32, 24))
    numbers = torch.arange(things).repeat_interleave(artists)
    noise = 0.3 * torch.randn(things * artists, 32, generator=generator)
    vectors = Vectors(
        images=of_thing[numbers] @ to_image + noise, texts=of_thing[numbers] @ to_text
    )
    learned = np.arange(things * artists) % artists < artists - 1
    alignment = aligned(vectors, things=numbers.numpy(), pairs=learned, seed=0)
    apart = torch.from_numpy(~learned)
    images, texts = vectors.images[apart], vectors.texts[apart]
    right = alignment.distance(images, texts=texts)
    wrong = alignment.distance(images, texts=texts.roll(1, dims=0))
    labels = np.repeat([0, 1], things)
    assert roc_auc_score(labels, np.concatenate([right, wrong])) > 0.95


def test_measures_are_those_of_scikit_learn(world):
    rows = load_rows(world / DRAWINGS)
    told = np.random.default_rng(0).random(len(rows.triples))
    found = measured(rows, told={"not_grounded": told})
    positive = rows.positive["not_grounded"]
    assert found == {
        "rows": 640,
        "not_grounded_positives": positive.sum(),
        "not_grounded_auroc": pytest.approx(roc_auc_score(positive, told)),
        "not_grounded_auprc": pytest.approx(average_precision_score(positive, told)),
    }


def test_a_run_is_done_once_and_keeps_its_command(pictures, tmp_path, monkeypatch, capsys):
    asked = []

    def method(task):
        asked.append(task.recipe.seed)
        return {name: {"rows": len(rows.triples)} for name, rows in task.rows.items()}

    monkeypatch.setitem(runs.METHODS, "words", method)
    few = read_things()[::5]
    monkeypatch.setattr(world_module, "read_things", lambda: few)
    out = tmp_path / "table.csv"
    words = ["run", "--source", str(pictures), "--methods", "words", "--seeds", "3"]
    for _ in range(2):
        assert command.main([*words, "--out", str(out)]) == 0
    assert asked == [3]
    with out.open() as file:
        lines = list(csv.DictReader(file))
    assert [line["cell"] for line in lines] == ["unseen drawings", "unseen things"]
    assert lines[0]["command"].startswith("python -m benchmarks.pictures run --source")
    assert "unseen drawings" in capsys.readouterr().out


def test_a_missing_source_is_the_users_to_mend(tmp_path, capsys):
    words = ["run", "--source", str(tmp_path / "none"), "--out", str(tmp_path / "table.csv")]
    assert command.main([*words, "--methods", "words"]) == 2
    assert "none" in capsys.readouterr().err
