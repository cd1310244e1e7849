import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.models.fusion import FusionSettings
from nsgauge.models.lora import LoraSettings
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.prediction import (
    RowBatch,
    batches_under_budget,
    cell_logits,
    encode_images,
    encode_windows,
)
from nsgauge.models.row_windows import RowText
from nsgauge.models.towers.packing import Packed
from nsgauge.models.windows import RowReader, WindowPolicy

SIZES = st.lists(st.integers(1, 50), max_size=60)
PIXELS = np.random.default_rng(0).integers(0, 256, size=(5, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="module")
def network(build_towers) -> Network:
    settings = FusionSettings(width=16, heads=2)
    return build_network(
        build_towers(),
        settings=NetworkSettings(lora=LoraSettings(rank=2), fusion=settings, ordinals=4),
    ).eval()


@pytest.fixture(scope="module")
def texts(word_tokenizer) -> list[RowText]:
    reader = RowReader(word_tokenizer, context=32, policy=WindowPolicy(prompt_tokens=4))
    rows = range(12)
    return reader.read(
        [f"w{row % 3}" for row in rows],
        responses=[f"w{row} " * (7 * row % 40) for row in rows],
        captions=[None for _ in rows],
    )


@given(SIZES, st.integers(1, 80))
def test_batches_hold_every_row_once_and_fit_the_budget(sizes, budget):
    batches = batches_under_budget(sizes, tokens_per_batch=budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or sum(sizes[row] for row in batch) <= budget
    lengths = [sizes[row] for batch in batches for row in batch]
    assert lengths == sorted(lengths)


@given(SIZES, st.integers(1, 80))
def test_a_batch_closes_only_when_the_next_row_doesnt_fit(sizes, budget):
    batches = batches_under_budget(sizes, tokens_per_batch=budget)
    for batch, following in itertools.pairwise(batches):
        assert sum(sizes[row] for row in batch) + sizes[following[0]] > budget


def test_batches_by_hand():
    assert batches_under_budget([5, 1, 9, 1, 3], tokens_per_batch=5) == [[1, 3, 4], [0], [2]]
    assert batches_under_budget([], tokens_per_batch=5) == []


@pytest.mark.parametrize("tokens_per_batch", [1, 40, 10_000])
def test_logits_dont_depend_on_order_or_batches(
    network, texts, relative_difference, tokens_per_batch
):
    features = encode_images(network.image_tower, batches=[PIXELS])
    slots = [row % 6 - 1 for row in range(len(texts))]
    wanted = np.concatenate(
        [
            cell_logits(
                network,
                rows=RowBatch(texts=[text], image_slots=[slot], image_features=features),
                tokens_per_batch=100,
            )
            for text, slot in zip(texts, slots, strict=True)
        ]
    )
    order = np.random.default_rng(1).permutation(len(texts))
    found = cell_logits(
        network,
        rows=RowBatch(
            texts=[texts[row] for row in order],
            image_slots=[slots[row] for row in order],
            image_features=features,
        ),
        tokens_per_batch=tokens_per_batch,
    )
    assert found.shape == (12, 4)
    assert relative_difference(found, reference=wanted[order]) <= 1e-5


def test_rows_without_images_need_no_features(network, texts):
    logits = cell_logits(
        network,
        rows=RowBatch(texts=texts, image_slots=[-1] * len(texts), image_features=None),
        tokens_per_batch=100,
    )
    assert np.isfinite(logits).all()


def test_an_image_is_encoded_the_same_in_any_batch(network, relative_difference):
    together = encode_images(network.image_tower, batches=[PIXELS])
    apart = encode_images(network.image_tower, batches=[PIXELS[:2], PIXELS[2:3], PIXELS[3:]])
    assert together.shape == (5, 1, 12)
    assert relative_difference(apart, reference=together) <= 1e-5


def test_no_images_are_refused(network):
    with pytest.raises(ValueError, match="no images"):
        encode_images(network.image_tower, batches=[])


@pytest.mark.parametrize("tokens_per_batch", [1, 9, 1000])
def test_windows_are_encoded_as_the_tower_does_alone(
    network, draw_windows, relative_difference, tokens_per_batch
):
    windows = draw_windows([5, 2, 9, 5, 1])
    encoded = encode_windows(network.text_tower, windows=windows, tokens_per_batch=tokens_per_batch)
    with torch.inference_mode():
        alone = torch.cat([network.text_tower(Packed.of([window])) for window in windows])
    assert relative_difference(encoded.of(windows), reference=alone) <= 1e-5


def test_rows_read_in_two_steps_get_the_same_logits(
    network, texts, word_tokenizer, logits_in_two_steps, relative_difference
):
    features = encode_images(network.image_tower, batches=[PIXELS])
    slots = [row % 6 - 1 for row in range(len(texts))]
    rows = RowReader(word_tokenizer, context=32, policy=WindowPolicy(prompt_tokens=4)).columns(
        [f"w{row % 3}" for row in range(12)],
        responses=[f"w{row} " * (7 * row % 40) for row in range(12)],
        captions=[None] * 12,
    )
    assert [rows[row] for row in range(12)] == texts
    batch = RowBatch(texts=texts, image_slots=slots, image_features=features)
    wanted = cell_logits(network, rows=batch, tokens_per_batch=10_000)
    found = logits_in_two_steps(network, rows=rows, slots=slots, images=features)
    assert relative_difference(found, reference=wanted) <= 1e-5
    with pytest.raises(ValueError, match="read the images first"):
        logits_in_two_steps(network, rows=rows, slots=slots, images=None)
