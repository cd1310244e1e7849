import dataclasses

import pytest

from nsgauge.eval.controls import ControlResult, ImageControls, Scope
from nsgauge.eval.report.coverage import coverage_of
from nsgauge.eval.report.inputs import join_rows
from nsgauge.eval.report.trust_words import coverage_sentences, picture_sentences


def controls(difference, *, low, high, states=None, scope=Scope.ALL):
    result = ControlResult(
        axis="not_grounded",
        run="shuffled_images",
        scope=scope,
        rows=100,
        positives=40,
        auroc=0.9 - difference,
        as_scored=0.9,
        difference=difference,
        low=low,
        high=high,
    )
    states = states or {"image": 100}
    return ImageControls(
        reference="human", rows=sum(states.values()), image_states=states, results=(result,)
    )


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.1, 0.3), "For not grounded the picture counts: AUROC 0.90 as scored, 0.70 with"),
        ((-0.1, 0.5), "For not grounded the picture does not visibly count here"),
        ((-0.5, -0.1), "the right picture makes the scores worse"),
    ],
)
def test_the_verdict_on_pictures_follows_the_interval(ends, said):
    (sentence,) = picture_sentences(controls(0.2, low=ends[0], high=ends[1]))
    assert said in sentence


def test_few_pictures_are_said_first_and_judged_alone():
    states = {"image": 40, "caption": 500, "absent": 360}
    pictured = controls(0.2, low=0.1, high=0.3, states=states, scope=Scope.PICTURED)
    first, scope, verdict = picture_sentences(pictured)
    assert first == "Only 40 of 900 rows have a picture. On 500 a caption stood in for it."
    assert "rows with a picture alone" in scope
    assert "the picture counts" in verdict


def test_without_pictures_nothing_is_claimed_about_them():
    first, second = picture_sentences(controls(0.2, low=0.1, high=0.3, states={"absent": 48}))
    assert first == "None of 48 rows have a picture."
    assert "can't show whether the classifier looks at pictures" in second


def test_one_class_among_the_pictures_gives_no_verdict():
    found = controls(0.2, low=0.1, high=0.3)
    blind = dataclasses.replace(
        found.results[0], positives=0, auroc=None, difference=None, low=None, high=None
    )
    (sentence,) = picture_sentences(dataclasses.replace(found, results=(blind,)))
    assert "nothing can be said: 100 rows with 0 positives" in sentence


def test_coverage_says_what_was_left_out(simulated):

    world = simulated(10)
    world.scores[0]["truncated"] = True
    world.score(world.triple("alpha", "broken", state="not_a_response"), None)
    inputs = world.inputs()
    said = list(coverage_sentences(coverage_of(inputs, rows=join_rows(inputs))))
    assert said[0].startswith("In 1 row the text is no answer of the VLLM")
    assert said[1].startswith("1 row of 21 have no score")
    assert said[2].startswith("The text of 1 scored row (5.0%) was cut")
