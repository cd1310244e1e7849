"""The classifier in Python: the same numbers as the command, and no row that stops it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import nsgauge
from nsgauge import Classifier, Triple
from nsgauge.data.tables import read_triples, triples_of
from nsgauge.errors import BundleError
from nsgauge.eval.scoring.shards import read_scores
from nsgauge.protocol import CELLS
from nsgauge.records import ImageState, ResponseState, ScoreStatus


@pytest.fixture(scope="module")
def classifier(bundle_path):
    return Classifier.load(bundle_path, device="cpu")


@pytest.fixture(scope="module")
def triples(world):
    return triples_of(read_triples(world))


@pytest.fixture(scope="module")
def scores(classifier, triples, world):
    return classifier.score(triples, image_root=world)


def test_it_gives_the_numbers_of_a_score_folder(scores, scored):
    written = read_scores(scored)
    for column in ("status", "image_code", "image_state", "truncated", "item_seen", "vllm_seen"):
        assert scores.table[column].to_pylist() == written[column].to_pylist()
    for axis in ("unsafe", "not_grounded"):
        expected = np.array(written[axis].to_pylist(), dtype=float)
        np.testing.assert_allclose(getattr(scores, axis), expected, atol=1e-5)
    expected = np.array([written[cell].to_pylist() for cell in CELLS], dtype=float).T
    np.testing.assert_allclose(scores.cells, expected, atol=1e-5)


def test_pictures_are_found_by_paths_of_the_callers_own(classifier, scores, triples, world):
    own = [replace(t, image=str(world / t.image)) for t in triples[:3] if t.image]
    np.testing.assert_allclose(classifier.score(own).unsafe, scores.unsafe[:3], atol=1e-5)


def test_a_path_is_a_path_and_no_text_is_an_error_that_says_so(
    classifier, triples, scores, world, annotations_unchecked
):
    with annotations_unchecked():
        own = replace(triples[0], image=world / triples[0].image)
        found = classifier.score([own]).unsafe
        for name in ("prompt", "response"):
            with pytest.raises(TypeError, match=f"a triple's {name} is NoneType; wanted text"):
                classifier.score([replace(triples[0], **{name: None})])
    np.testing.assert_allclose(found, scores.unsafe[:1], atol=1e-5)


@pytest.mark.parametrize("faulty", [False, True])
def test_captions_that_always_stand_in_hide_the_picture(bundle, triples, world, faulty):
    manifests = {
        taken: bundle.manifest.model_copy(update={"captions": taken}) for taken in (True, "always")
    }
    shown = next(t for t in triples if t.image and (t.triple_id == "damaged") is faulty)
    described = replace(
        shown, caption="a red berry", response="Eat it.", response_state=ResponseState.ANSWERED
    )
    bare = replace(described, image=None)
    said = {
        taken: Classifier(replace(bundle, manifest=manifest), device="cpu")
        for taken, manifest in manifests.items()
    }
    hidden = said["always"].score([described, replace(described, caption=None)], image_root=world)
    wanted = said[True].score([bare], image_root=world)
    assert hidden[0].image_state is ImageState.CAPTION
    assert hidden[0].image_code is None
    np.testing.assert_allclose(hidden.cells[:1], wanted.cells, atol=1e-6)
    # Whether the picture was seen in training is told by the picture, looked at or not.
    assert hidden[0].item_seen == hidden[1].item_seen
    assert hidden[1].image_state is (ImageState.ERROR if faulty else ImageState.IMAGE)


def test_rows_without_a_score_are_nan_and_no_verdict(scores):
    unscored = np.array([status is not ScoreStatus.SCORED for status in scores.status])
    assert unscored.sum() == 5
    for numbers in (scores.unsafe, scores.not_grounded, scores.cells[:, 0]):
        np.testing.assert_array_equal(np.isnan(numbers), unscored)
    assert not scores.unsafe_verdict[unscored].any()
    assert not scores.not_grounded_verdict[unscored].any()


def test_one_score_is_had_by_its_place(scores, triples):
    assert len(scores) == len(triples)
    assert scores[0].triple_id == triples[0].triple_id
    assert scores[-1] == scores[len(triples) - 1]
    assert scores[0].status is ScoreStatus.SCORED
    assert scores[0].image_state is ImageState.IMAGE
    assert scores[0].unsafe == pytest.approx(scores.unsafe[0])
    assert [score.triple_id for score in scores] == [t.triple_id for t in triples]
    with pytest.raises(IndexError):
        scores[len(triples)]


def test_no_triples_give_no_scores(classifier):
    none = classifier.score([])
    assert len(none) == 0
    assert none.cells.shape == (0, 4)


@pytest.mark.parametrize("response", ["", " \n\t", "\u2003"])
def test_a_blank_response_is_not_scored_though_nobody_marked_it(classifier, response):
    blank = classifier.score([Triple(prompt="p", response=response)])
    assert blank.status == [ScoreStatus.EMPTY_RESPONSE]
    assert blank[0].unsafe is None


def test_an_error_in_place_of_an_answer_is_not_scored(classifier):
    state = ResponseState.NOT_A_RESPONSE
    told = classifier.score([Triple(prompt="p", response="502", response_state=state)])
    assert told.status == [ScoreStatus.NOT_A_RESPONSE]


def test_hostile_rows_are_scored_or_say_why_not(classifier, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    lone = "a \ud800 b \udfff"
    rows = {
        "plain": Triple(prompt="p", response="r"),
        "enormous": Triple(prompt="p", response="x y " * 500_000),
        "enormous prompt": Triple(prompt="z" * 2_000_000, response="r"),
        "surrogates": Triple(prompt=lone, response=lone, caption=lone),
        "names": Triple(
            prompt="p", response="r", triple_id=lone, item_id=lone, benchmark=lone, vllm=lone
        ),
        "control tokens": Triple(prompt="[SEP][CLS]", response="<end_of_text>\0"),
        "unreadable": Triple(prompt="p", response="r", image=str(tmp_path / "broken.png")),
        "absent": Triple(prompt="p", response="r", image=str(tmp_path / "absent.png")),
        "strange path": Triple(prompt="p", response="r", image="\0\ud800"),
    }
    found = classifier.score(list(rows.values()))
    scores = dict(zip(rows, found, strict=True))
    codes = {name: score.image_code for name, score in scores.items() if score.image_code}
    assert codes["absent"] == "missing"
    assert set(codes) == {"unreadable", "absent", "strange path"}
    for name, score in scores.items():
        assert (score.status is ScoreStatus.IMAGE_ERROR) == (name in codes)
        assert (score.unsafe is None) == (name in codes)
        assert score.truncated == name.startswith("enormous")


def test_other_rows_do_not_change_a_score(classifier, scores, triples, world):
    alone = [classifier.score([t], image_root=world).unsafe[0] for t in triples[:2]]
    np.testing.assert_allclose(alone, scores.unsafe[:2], atol=1e-5)


def test_the_teacher_and_the_thresholds_are_those_of_the_bundle(classifier, bundle):
    assert classifier.judges == ("sample-judge",)
    assert classifier.thresholds == bundle.manifest.thresholds


def test_a_missing_bundle_is_named(tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        Classifier.load(tmp_path / "nowhere")


def test_public_names_are_sorted_and_importable():
    assert nsgauge.__all__ == sorted(nsgauge.__all__)
    for name in nsgauge.__all__:
        assert getattr(nsgauge, name).__name__ == name
    assert set(nsgauge.__all__) <= set(dir(nsgauge))
    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        nsgauge.Clasifier  # noqa: B018 - reading it is the test


def test_what_needs_no_classifier_does_not_load_torch():
    statement = (
        "import nsgauge, sys; nsgauge.Triple; import nsgauge.cli.app;"
        "import nsgauge.eval.report.writing; import nsgauge.eval.scoring.shards;"
        "print(*sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, check=True
    )
    assert not {"torch", "lightning", "transformers", "open_clip"} & set(told.stdout.split())
