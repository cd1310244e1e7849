"""Alignment: pictures and the windows that grounded responses begin with, brought together."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nsgauge.data.batches import shuffled_batches
from nsgauge.data.split import Side
from nsgauge.models.inputs import NetworkInputs
from nsgauge.models.match import Match
from nsgauge.models.member import Member
from nsgauge.models.network import Network
from nsgauge.models.row_windows import TextRole
from nsgauge.protocol import Rate
from nsgauge.train.axes import axis_labels
from nsgauge.train.batches import CorpusBatches, TrainBatch
from nsgauge.train.corpus import Corpus
from nsgauge.train.features import CorpusVectors
from nsgauge.train.recipe import Recipe


def contrastive_loss(
    logits: Float[Tensor, "rows rows"], *, pictures: Int[Tensor, " rows"]
) -> Float[Tensor, ""]:
    """Symmetric cross-entropy; every window of a picture belongs to each of its rows alike.

    Args:
        logits: Of which window (columns) belongs to which picture (rows).
        pictures: Which picture each row shows.

    Source: Radford et al. 2021, "Learning transferable visual models from natural language
    supervision", with several texts a picture (Khosla et al. 2020, "Supervised contrastive
    learning").
    """
    same = (pictures[:, None] == pictures[None, :]).to(logits.dtype)
    wanted = same / same.sum(dim=1, keepdim=True)
    by_picture = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
    by_window = -(wanted * logits.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (by_picture + by_window) / 2


def alignment_loss(network: Network, *, batch: TrainBatch) -> Float[Tensor, ""]:
    """Each member's contrastive loss over the rows that may teach it, summed.

    Rows without a picture and rows that the teacher doesn't call grounded say nothing of what a
    picture shows; a member with fewer than two pictures left has no loss.

    Args:
        network: Whose fusions have a match.
        batch: With the towers' vectors in it.
    """
    inputs = batch.inputs
    window = first_response(inputs)
    grounded = torch.from_numpy(grounded_rows(batch.masses.cpu().numpy())).to(window.device)
    fit = (inputs.image_slots >= 0) & (window >= 0) & grounded
    vectors = network.read(inputs)
    losses = [batch.masses.new_zeros(())]
    for member, teaches in zip(_members(network), batch.teaches, strict=True):
        rows = torch.nonzero(fit & (teaches > 0)).flatten()
        pictures = inputs.image_slots[rows]
        if not len(rows) or bool((pictures == pictures[0]).all()):
            continue
        logits = _matched(member).contrast(
            vectors.image[rows, 0], text=member.windows(vectors)[window[rows]]
        )
        losses.append(contrastive_loss(logits, pictures=pictures))
    return torch.stack(losses).sum()


def first_response(inputs: NetworkInputs) -> Int[Tensor, " rows"]:
    """Per row, the window that its response begins in; -1 where it has none."""
    is_response = (inputs.roles == TextRole.RESPONSE) | (inputs.roles == TextRole.JOINT)
    slot = is_response.int().argmax(dim=1, keepdim=True)
    window = inputs.slots.gather(1, slot).squeeze(1)
    return torch.where(is_response.any(dim=1), window, -1)


def grounded_rows(masses: Float[np.ndarray, "rows observations"]) -> Bool[np.ndarray, " rows"]:
    """Which rows most of the teacher's votes call grounded."""
    not_grounded, known = axis_labels(masses, rate=Rate.NOT_GROUNDED)
    return known & ~not_grounded


def align(network: Network, *, corpus: Corpus, vectors: CorpusVectors, recipe: Recipe) -> None:
    """Teach the members' matches from the training side, in place; nothing else learns.

    Args:
        network: Whose fusions have a match.
        corpus: What is learned.
        vectors: What the frozen towers made of it.
        recipe: With `optimisation.alignment`.
    """
    settings = recipe.optimisation.alignment
    grounded = grounded_rows(corpus.masses)
    rows = [
        row
        for row in corpus.rows_of(Side.TRAIN)
        if corpus.image_digests[row] is not None and grounded[row]
    ]
    trained = [p for member in _members(network) for p in _matched(member).parameters()]
    steps = settings.epochs * math.ceil(len(rows) / settings.rows_per_step)
    optimizer = torch.optim.AdamW(
        trained, lr=settings.rate, weight_decay=recipe.optimisation.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps))
    network.eval()
    device = next(network.parameters()).device
    for epoch in range(settings.epochs):
        batches = shuffled_batches(
            [corpus.image_digests[row] for row in rows],
            rows_per_batch=settings.rows_per_step,
            rows_per_image=1,
            generator=np.random.default_rng((recipe.seed, epoch)),
        )
        for batch in CorpusBatches(
            corpus,
            batches=[[rows[place] for place in batch] for batch in batches],
            vectors=vectors,
            members=recipe.committee,
        ):
            loss = alignment_loss(network, batch=batch.to(device))
            if loss.requires_grad:
                # Rows that are all of one picture have nothing to tell apart.
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                scheduler.step()


def _members(network: Network) -> list[Member]:
    return [member for member in network.members if isinstance(member, Member)]


def _matched(member: Member) -> Match:
    match = member.fusion.match
    if match is None:
        raise ValueError("alignment wants members whose fusion has a match: set fusion.match_width")
    return match
