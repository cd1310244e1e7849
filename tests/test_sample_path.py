"""The whole path on the sample world: the demo's own training, scores, and what must come out."""

import pytest

AXES = ("unsafe", "not_grounded")


@pytest.fixture(scope="module")
def learned(benchmark_module, tmp_path_factory):
    sample = benchmark_module("sample")
    work = tmp_path_factory.mktemp("work")
    runs = sample.runs_of("pictures", seed=7)
    sample.perform(runs[0], work=work)
    return sample.measure(runs, cell="pictures", work=work)


@pytest.mark.parametrize("axis", AXES)
def test_unseen_items_are_told_apart(learned, axis):
    assert learned[f"{axis}_auroc"] >= 0.95


@pytest.mark.parametrize(
    "run", ["shuffled_images", "blank_images", "prompt_response", "response_only"]
)
def test_grounding_can_not_be_told_without_the_right_picture(learned, run):
    assert learned[f"not_grounded_auroc_{run}"] < 0.65
