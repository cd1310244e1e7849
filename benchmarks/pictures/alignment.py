"""A contrastive alignment of the frozen towers: what a look at both vectors alone can tell.

Two linear maps bring a picture's pooled vector and the window of a grounded answer, or of a right
caption, close together (CLIP's loss, Radford et al. 2021; several texts of one thing are all
right). `not_grounded` is then told by how far picture and response lie apart; safety it can't tell.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.pictures.rows import Rows
from benchmarks.pictures.world import BENCHMARK, LEARNED, TEACHER
from nsgauge.data.split import Side
from nsgauge.models.prediction import encode_images, encode_windows
from nsgauge.models.preset import load_preset
from nsgauge.models.row_windows import TextRole
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.protocol import Rate
from nsgauge.train.axes import axis_labels
from nsgauge.train.corpus import Corpus, load_corpus
from nsgauge.train.recipe import Recipe, TeacherSettings

WIDTH = 256
EPOCHS = 30
PAIRS_PER_STEP = 256
RATE = 1e-3
TOKENS_PER_BATCH = 8192
IMAGES_PER_BATCH = 32


class Alignment(nn.Module):
    """The two maps, into one space."""

    def __init__(self, *, image_width: int, text_width: int) -> None:
        super().__init__()
        self.image, self.text = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, WIDTH))
            for width in (image_width, text_width)
        )
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def loss(
        self,
        images: Float[Tensor, "pairs image_width"],
        *,
        texts: Float[Tensor, "pairs text_width"],
        things: Int[Tensor, " pairs"],
    ) -> Float[Tensor, ""]:
        """Cross-entropy both ways; all pairs of one thing are right."""
        pictures, words = normalize(self.image(images)), normalize(self.text(texts))
        logits = pictures @ words.T * self.log_scale.exp()
        right = (things[:, None] == things).float()
        wanted = right / right.sum(dim=1, keepdim=True)
        ways = [-(wanted * way.log_softmax(dim=1)).sum(dim=1).mean() for way in (logits, logits.T)]
        return (ways[0] + ways[1]) / 2

    @torch.inference_mode()
    def distance(
        self, images: Float[Tensor, "rows image_width"], *, texts: Float[Tensor, "rows text_width"]
    ) -> Float[np.ndarray, " rows"]:
        """One less the cosine, in [0, 2]."""
        cosine = (normalize(self.image(images)) * normalize(self.text(texts))).sum(dim=1)
        return np.asarray(1 - cosine.numpy(), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Each row's picture and the window that its response begins with, as the towers see them."""

    images: Float[Tensor, "rows image_width"]
    texts: Float[Tensor, "rows text_width"]


def distances(
    folder: Path, *, rows: Mapping[str, Rows], recipe: Recipe, known: dict[str, Tensor]
) -> dict[str, dict[str, Float[np.ndarray, " rows"]]]:
    """By data folder, how far picture and response lie apart, under the name `not_grounded`.

    Args:
        folder: Holds the data folders.
        rows: By name of a data folder, the rows to speak of.
        recipe: Names preset, teachers and split.
        known: The vectors of pictures that are encoded already, by digest; gets the others.
    """
    towers = load_towers(load_preset(recipe.preset), tower_directory=recipe.tower_directory)
    learned = load_corpus(folder / LEARNED, recipe=recipe, towers=towers)
    vectors = encoded(learned, towers=towers, known=known)
    positive, said = axis_labels(learned.masses, rate=Rate.NOT_GROUNDED)
    grounded = said & ~positive & np.array([side is Side.TRAIN for side in learned.sides])
    alignment = aligned(vectors, things=_things(learned), pairs=grounded, seed=recipe.seed)
    # The other folders have no captions, so their judge isn't there.
    alone = recipe.model_copy(update={"teacher": TeacherSettings(judges=(TEACHER,))})
    found = {}
    for name, wanted in rows.items():
        corpus = load_corpus(folder / name, recipe=alone, towers=towers)
        vectors = encoded(corpus, towers=towers, known=known)
        place = {triple.triple_id: row for row, triple in enumerate(corpus.triples)}
        at = [place[triple.triple_id] for triple in wanted.triples]
        told = alignment.distance(vectors.images[at], texts=vectors.texts[at])
        found[name] = {"not_grounded": told}
    return found


def encoded(corpus: Corpus, *, towers: Towers, known: dict[str, Tensor]) -> Vectors:
    """Every window once, and every picture whose vector isn't known yet."""
    digests = sorted(set(corpus.images) - set(known))
    if digests:
        batches = (
            np.stack([corpus.images[digest] for digest in digests[at : at + IMAGES_PER_BATCH]])
            for at in range(0, len(digests), IMAGES_PER_BATCH)
        )
        pooled = encode_images(towers.image, batches=batches)[:, 0]
        known.update(zip(digests, pooled, strict=True))
    first = [text.windows[text.roles.index(TextRole.RESPONSE)] for text in corpus.texts]
    windows = encode_windows(
        towers.text, windows=list(dict.fromkeys(first)), tokens_per_batch=TOKENS_PER_BATCH
    )
    return Vectors(
        images=torch.stack([known[digest] for digest in corpus.image_digests if digest]),
        texts=windows.of(first),
    )


def aligned(
    vectors: Vectors,
    *,
    things: Int[np.ndarray, " rows"],
    pairs: Bool[np.ndarray, " rows"],
    seed: int,
) -> Alignment:
    """Learn from the rows that are `pairs`, with a rate that falls as a cosine."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    alignment = Alignment(image_width=vectors.images.shape[1], text_width=vectors.texts.shape[1])
    optimizer = torch.optim.AdamW(alignment.parameters(), lr=RATE)
    rows = np.flatnonzero(pairs)
    per_step = min(PAIRS_PER_STEP, len(rows))
    steps = EPOCHS * (len(rows) // per_step)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2
    )
    for _ in range(EPOCHS):
        shuffled = generator.permutation(rows)
        for start in range(0, len(rows) - per_step + 1, per_step):
            drawn = torch.from_numpy(shuffled[start : start + per_step])
            loss = alignment.loss(
                vectors.images[drawn],
                texts=vectors.texts[drawn],
                things=torch.from_numpy(things[drawn.numpy()]),
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return alignment


def _things(corpus: Corpus) -> Int[np.ndarray, " rows"]:
    """A number for what each row's picture shows: items are named CODE-ARTIST."""
    names = [
        (triple.benchmark == BENCHMARK, triple.item_id.rsplit("-", 1)[0])
        for triple in corpus.triples
    ]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)
