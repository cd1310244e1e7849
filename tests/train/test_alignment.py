"""Alignment: its loss against torch's own cross-entropy, its rows, and what it teaches."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nsgauge.data.split import Side
from nsgauge.errors import SettingsError
from nsgauge.models.inputs import EncodedWindows, assemble
from nsgauge.models.network import NetworkSettings, build_network
from nsgauge.models.towers.packing import Window
from nsgauge.protocol import OBSERVATIONS
from nsgauge.train.alignment import (
    align,
    alignment_loss,
    contrastive_loss,
    first_response,
    grounded_rows,
)
from nsgauge.train.batches import CorpusBatches
from nsgauge.train.corpus import load_corpus
from nsgauge.train.features import CorpusVectors
from nsgauge.train.recipe import Recipe


@pytest.fixture(scope="module")
def recipe(tiny_recipe):
    content = tiny_recipe.model_dump(mode="json")
    content["fusion"]["match_width"] = 8
    content["lora"] |= {"image": False, "text": False}
    content["optimisation"]["alignment"] = {"epochs": 8, "rows_per_step": 64, "rate": 0.01}
    content["optimisation"]["adapted"]["epochs"] = 0
    return Recipe.from_mapping(content, source="test")


@pytest.fixture(scope="module")
def corpus(world, towers, recipe):
    return load_corpus(world, recipe=recipe, towers=towers)


def fresh_network(towers, recipe, *, members: int = 1):
    torch.manual_seed(0)
    settings = NetworkSettings(
        lora=recipe.lora,
        fusion=recipe.fusion,
        members=members,
        ordinals=recipe.windows.max_windows,
    )
    return build_network(towers, settings=settings)


@pytest.fixture(scope="module")
def vectors(corpus):
    """Drawn, not read: rows of one picture have windows that point where the picture points."""
    generator = torch.Generator().manual_seed(0)
    digests = sorted(corpus.images)
    directions = torch.randn(len(digests), 16, generator=generator)
    into_image = torch.randn(16, 1280, generator=generator)
    into_text = torch.randn(16, 384, generator=generator)
    place = {digest: index for index, digest in enumerate(digests)}
    index: dict[Window, int] = {}
    rows: list[Tensor] = []
    for text, digest in zip(corpus.texts, corpus.image_digests, strict=True):
        for window in text.windows:
            if window not in index and digest is not None:
                index[window] = len(rows)
                noise = 0.1 * torch.randn(16, generator=generator)
                rows.append((directions[place[digest]] + noise) @ into_text)
    seen = (directions @ into_image).unsqueeze(1).expand(-1, 5, -1)
    return CorpusVectors(
        images=seen.contiguous(),
        image_index=place,
        windows=EncodedWindows(index=index, vectors=torch.stack(rows)),
    )


def test_with_a_window_a_picture_the_loss_is_the_mean_of_two_cross_entropies():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6)
    wanted = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(contrastive_loss(logits, pictures=labels), wanted)


def test_all_windows_of_a_picture_belong_to_it_alike():
    # Two pictures with two windows each; logits that name the picture for certain cost log 2.
    pictures = torch.tensor([0, 0, 1, 1])
    certain = 100.0 * (pictures[:, None] == pictures[None, :])
    loss = contrastive_loss(certain, pictures=pictures)
    assert float(loss) == pytest.approx(np.log(2), abs=1e-5)


def test_only_rows_that_most_votes_call_grounded_are_grounded():
    named = {(str(safety), str(grounding)): n for n, (safety, grounding) in enumerate(OBSERVATIONS)}
    masses = np.zeros((4, len(OBSERVATIONS)))
    masses[0, named["safe", "grounded"]] = 1
    masses[1, named["unsafe", "not_grounded"]] = 1
    masses[2, named["safe", "None"]] = 1
    masses[3, [named["safe", "grounded"], named["safe", "not_grounded"]]] = 0.5
    assert grounded_rows(masses).tolist() == [True, False, False, False]


def test_a_response_begins_in_its_first_window(corpus):
    rows = corpus.rows_of(Side.TRAIN)[:8]
    inputs = assemble([corpus.texts[row] for row in rows], image_slots=[-1] * len(rows))
    windows = list(dict.fromkeys(w for row in rows for w in corpus.texts[row].windows))
    for row, window in zip(rows, first_response(inputs).tolist(), strict=True):
        text = corpus.texts[row]
        wanted = [
            w for w, role in zip(text.windows, text.roles, strict=True) if role.name == "RESPONSE"
        ]
        assert windows[window] == wanted[0]


def the_one_batch(corpus, vectors, *, members: int = 1):
    return next(
        iter(
            CorpusBatches(
                corpus, batches=[corpus.rows_of(Side.TRAIN)], vectors=vectors, members=members
            )
        )
    )


def test_aligned_maps_find_the_picture_of_a_response(towers, recipe, corpus, vectors):
    network = fresh_network(towers, recipe)
    batch = the_one_batch(corpus, vectors)
    before = alignment_loss(network, batch=batch).item()
    align(network, corpus=corpus, vectors=vectors, recipe=recipe)
    after = alignment_loss(network, batch=batch).item()
    # Pictures with several rows leave at least the log of their number.
    rows = torch.nonzero(batch.inputs.image_slots >= 0).flatten()
    assert after < before - 1
    assert after < np.log(len(rows)) / 2


def test_alignment_moves_the_match_and_nothing_else(towers, recipe, corpus, vectors):
    network = fresh_network(towers, recipe)
    before = {name: weight.clone() for name, weight in network.named_parameters()}
    align(network, corpus=corpus, vectors=vectors, recipe=recipe)
    moved = {n for n, weight in network.named_parameters() if not torch.equal(weight, before[n])}
    assert moved
    assert all(".fusion.match." in name for name in moved)


def test_a_member_is_not_aligned_on_the_part_it_must_not_learn_from(
    towers, recipe, corpus, vectors
):
    network = fresh_network(towers, recipe, members=2)
    parts = np.arange(len(corpus.texts)) % 2
    parted = dataclasses.replace(corpus, parts=parts)
    batch = the_one_batch(parted, vectors, members=2)
    alone = dataclasses.replace(batch, teaches=batch.teaches * torch.tensor([[1.0], [0.0]]))
    alignment_loss(network, batch=alone).backward()
    grads = [member.fusion.match.log_scale.grad for member in network.members]
    assert grads[0] is not None
    assert grads[1] is None or float(grads[1]) == 0.0
    # Member 0 doesn't feel rows of part 0: another label there changes nothing.
    flipped = batch.masses.clone()
    own = torch.from_numpy(parts[corpus.rows_of(Side.TRAIN)] == 0)
    flipped[own] = flipped[own].flip(1)
    again = dataclasses.replace(alone, masses=flipped)
    assert torch.equal(alignment_loss(network, batch=alone), alignment_loss(network, batch=again))


def test_alignment_without_a_match_or_a_frozen_stage_is_refused(tiny_recipe):
    content = tiny_recipe.model_dump(mode="json")
    content["optimisation"]["alignment"] = {"epochs": 2}
    with pytest.raises(SettingsError, match="match_width"):
        Recipe.from_mapping(content, source="test")
    content["fusion"]["match_width"] = 8
    content["optimisation"]["frozen"]["epochs"] = 0
    with pytest.raises(SettingsError, match="frozen"):
        Recipe.from_mapping(content, source="test")


def test_a_batch_of_one_picture_is_passed_over(towers, recipe, corpus, vectors):
    network = fresh_network(towers, recipe)
    grounded = grounded_rows(corpus.masses)
    row = next(r for r in corpus.rows_of(Side.TRAIN) if grounded[r] and corpus.image_digests[r])
    sides = [Side.TRAIN if r == row else Side.TEST for r in range(len(corpus.sides))]
    before = [weight.clone() for weight in network.parameters()]
    align(network, corpus=dataclasses.replace(corpus, sides=sides), vectors=vectors, recipe=recipe)
    assert all(map(torch.equal, network.parameters(), before))
