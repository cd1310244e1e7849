"""The picture controls against scikit-learn's AUROC, hand counts and simulation."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from nsgauge.data.targets import labels_of
from nsgauge.errors import DataError
from nsgauge.eval.controls import Scope, auroc_contrast, image_controls
from nsgauge.records import SCORES_SCHEMA, TRIPLES_SCHEMA, VERDICTS_SCHEMA


def score_table(ids, not_grounded, *, images="image", seen=()):
    rows = [
        {
            "triple_id": triple_id,
            "status": "scored",
            "unsafe": 0.5,
            "not_grounded": float(value),
            "image_state": images if isinstance(images, str) else images[number],
            "text_windows": 1,
            "truncated": False,
            "item_seen": triple_id in seen,
            "vllm_seen": True,
        }
        for number, (triple_id, value) in enumerate(zip(ids, not_grounded, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=SCORES_SCHEMA)


def data_tables(truth):
    ids = [f"t{number}" for number in range(len(truth))]
    triples = [
        {
            "triple_id": triple_id,
            "benchmark": "bench",
            "item_id": triple_id,
            "vllm": "alpha",
            "sample": 0,
            "prompt": "",
            "response": "",
            "response_state": "answered",
        }
        for triple_id in ids
    ]
    verdicts = [
        {
            "triple_id": triple_id,
            "judge": "human",
            "vote": 0,
            "state": "answered",
            "safety": "safe",
            "grounding": "not_grounded" if positive else "grounded",
        }
        for triple_id, positive in zip(ids, truth, strict=True)
    ]
    labels = labels_of(pa.Table.from_pylist(verdicts, schema=VERDICTS_SCHEMA), judge="human")
    return ids, pa.Table.from_pylist(triples, schema=TRIPLES_SCHEMA), labels


def entry(controls, *, run, scope=Scope.ALL):
    return controls.find("not_grounded", run=run, scope=scope)


def test_four_rows_counted_by_hand():
    ids, triples, labels = data_tables([True, True, False, False])
    controls = image_controls(
        score_table(ids, [0.9, 0.8, 0.2, 0.1]),
        controls={"shuffled_images": score_table(ids, [0.9, 0.1, 0.2, 0.1])},
        labels=labels,
        triples=triples,
    )
    found = entry(controls, run="shuffled_images")
    assert (found.rows, found.positives) == (4, 2)
    assert found.as_scored == 1.0
    # Pairs won: .9 beats both, .1 ties one and loses one.
    assert found.auroc == pytest.approx((2 + 0.5) / 4)
    assert found.difference == pytest.approx(0.375)


def test_runs_are_matched_by_id_not_by_place():
    draw = np.random.default_rng(0)
    truth = draw.random(200) < 0.4
    ids, triples, labels = data_tables(truth)
    values = draw.random(200) + 0.5 * truth
    order = draw.permutation(200)
    controls = image_controls(
        score_table(ids, values),
        controls={"blank_images": score_table(ids, values).take(order)},
        labels=labels,
        triples=triples,
    )
    found = entry(controls, run="blank_images")
    assert found.difference == found.low == found.high == 0.0
    # Scores are stored in single precision.
    assert found.auroc == pytest.approx(roc_auc_score(truth, values.astype(np.float32)))


def test_seen_and_unpictured_rows_are_told_apart():
    ids, triples, labels = data_tables([True, False] * 10)
    states = ["image"] * 6 + ["absent"] * 14
    usual = score_table(ids, np.linspace(0, 1, 20), images=states, seen=ids[:2])
    controls = image_controls(usual, controls={}, labels=labels, triples=triples)
    assert controls.rows == 18
    assert controls.image_states == {"image": 4, "absent": 14}
    assert controls.pictured == 4
    found = entry(controls, run="as_scored", scope=Scope.PICTURED)
    assert (found.rows, found.positives) == (4, 2)


def test_a_control_on_part_of_the_rows_is_compared_on_that_part():
    truth = np.arange(20) % 2 == 0
    ids, triples, labels = data_tables(truth)
    values = np.where(truth, 0.8, 0.3)
    values[:6] = 0.5
    part = score_table(ids[6:], values[6:])
    controls = image_controls(
        score_table(ids, values), controls={"response_only": part}, labels=labels, triples=triples
    )
    found = entry(controls, run="response_only")
    assert (found.rows, found.as_scored, found.difference) == (14, 1.0, 0.0)


def test_one_class_gives_no_auroc_but_keeps_the_count():
    ids, triples, labels = data_tables([True] * 5)
    controls = image_controls(
        score_table(ids, [0.5] * 5), controls={}, labels=labels, triples=triples
    )
    found = entry(controls, run="as_scored")
    assert (found.rows, found.positives, found.auroc) == (5, 5, None)


def test_an_unknown_control_is_refused_with_the_known_names():
    ids, triples, labels = data_tables([True, False])
    table = score_table(ids, [0.1, 0.2])
    with pytest.raises(DataError, match=r"sepia.*shuffled_images"):
        image_controls(table, controls={"sepia": table}, labels=labels, triples=triples)


def test_swapping_the_runs_reflects_the_interval():
    draw = np.random.default_rng(4)
    positive = draw.random(150) < 0.3
    first, second = draw.normal(size=(2, 150)) + positive
    clusters = np.arange(150) // 3
    one = auroc_contrast(positive, first=first, second=second, clusters=clusters)
    other = auroc_contrast(positive, first=second, second=first, clusters=clusters)
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.first == pytest.approx(roc_auc_score(positive, first))


def test_the_interval_covers_the_true_difference_where_items_repeat():
    draw, covered, repetitions = np.random.default_rng(7), 0, 300
    # Scores are N(shift, 1) in the positives: AUROC = Phi(shift / sqrt(2)).
    truth = 0.8413447 - 0.6914625
    for _ in range(repetitions):
        item = np.repeat(np.arange(60), 4)
        positive = draw.random(240) < 0.35
        shared, own = draw.normal(size=60)[item], draw.normal(size=(2, 240))
        noise = np.sqrt(0.5) * (shared + own)
        first, second = noise[0] + np.sqrt(2) * positive, noise[1] + 0.5 * np.sqrt(2) * positive
        found = auroc_contrast(positive, first=first, second=second, clusters=item)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / repetitions <= 0.98


def test_an_auroc_of_one_class_is_refused():
    ones = np.ones(3)
    with pytest.raises(ValueError, match="both classes"):
        auroc_contrast(ones > 0, first=ones, second=ones, clusters=np.arange(3))
