"""The methods: each learns from one side of a split and says what it thinks of the test side."""

import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from benchmarks.msts.baselines import finetuned, words
from benchmarks.msts.rows import AXES
from benchmarks.msts.runs import TEACHERS, THRESHOLDS
from benchmarks.msts.task import Method, Opinion, Task
from nsgauge.checkpoints.bundle import Bundle, load_bundle
from nsgauge.data.split import Side
from nsgauge.eval.scoring.classifier import Classifier
from nsgauge.models.prediction import RowBatch, cell_logits
from nsgauge.protocol import CELLS, Rate, rate_shares
from nsgauge.train.features import TOKENS_PER_BATCH
from nsgauge.train.fit import train
from nsgauge.train.recipe import load_recipe
from nsgauge.train.token_cache import cached_exchanges, cached_tokens


def from_recipe(
    recipe: str, *overrides: str, own_teacher: dict[str, object] | None = None
) -> Method:
    """A training of the package, by its recipe.

    Args:
        recipe: A name of `nsgauge train --list`.
        overrides: Each `section.key=value`.
        own_teacher: Takes the place of the people's adjudicated label, with more of what they said.
    """

    def method(task: Task) -> Opinion:
        teacher = TEACHERS[task.teacher]
        if own_teacher is not None and task.teacher == "human":
            teacher = own_teacher
        # JSON is YAML, which an override's value is read as.
        own = [
            f"split={task.split.model_dump_json()}",
            f"teacher={json.dumps(teacher)}",
            f"thresholds.target={THRESHOLDS[task.teacher]}",
            f"seed={task.seed}",
        ]
        loaded = load_recipe(recipe, overrides=(*overrides, *own))
        path = task.scratch / "bundle"
        train(loaded, data=task.data, out=path, cache=task.cache)
        bundle = load_bundle(path)
        test = [row for row, side in enumerate(task.sides) if side is Side.TEST]
        cells = _cells(bundle, task=task, rows=test)
        opinion = Opinion(probability={}, verdict={})
        for axis in AXES:
            if task.lesson.known[axis].any():
                told = rate_shares(cells, rate=Rate(axis))
                opinion.probability[axis] = np.full(len(task.sides), np.nan)
                opinion.verdict[axis] = np.zeros(len(task.sides), dtype=bool)
                opinion.probability[axis][test] = told
                threshold = getattr(bundle.manifest.thresholds, axis)
                opinion.verdict[axis][test] = told >= threshold
        return opinion

    return method


def _cells(bundle: Bundle, *, task: Task, rows: Sequence[int]) -> Float[np.ndarray, "rows cells"]:
    """As `nsgauge score` finds them, but with what frozen towers read from the cache.

    Rows whose picture is looked at, and all rows where the towers have adapters, go the usual way.
    """
    network, triples = bundle.network, task.rows.triples
    frozen = network.pools_tokens and not bundle.manifest.network.lora.text
    always = bundle.manifest.captions == "always"
    captions = [triple.caption if triple.image is None or always else None for triple in triples]
    plain = [
        row for row in rows if frozen and (triples[row].image is None or captions[row] is not None)
    ]
    usual = sorted(set(rows) - set(plain))
    cells = np.full((len(triples), len(CELLS)), np.nan)
    if usual:
        scored = Classifier(bundle).score([triples[row] for row in usual], image_root=task.data)
        cells[usual] = scored.cells
    if plain:
        batch = _from_cache(bundle, task=task, captions=captions, rows=plain)
        logits = cell_logits(network, rows=batch, tokens_per_batch=TOKENS_PER_BATCH)
        cells[plain] = bundle.manifest.calibrator.probabilities(logits)
    return cells[list(rows)]


def _from_cache(
    bundle: Bundle, *, task: Task, captions: Sequence[str | None], rows: Sequence[int]
) -> RowBatch:
    """Rows whose picture isn't looked at; the cache holds what was read of all rows together."""
    network, triples = bundle.network, task.rows.triples
    prompts = [triple.prompt for triple in triples]
    responses = [triple.response for triple in triples]
    texts = bundle.reader.read(prompts, responses=responses, captions=captions)
    windows = dict.fromkeys(window for text in texts for window in text.windows)
    tokens = cached_tokens(
        network.text_tower,
        windows=list(windows),
        cache=task.cache,
        tokens_per_batch=TOKENS_PER_BATCH,
    )
    exchanges = None
    if bundle.exchanges is not None and network.language_tower is not None:
        exchanges = cached_exchanges(
            network.language_tower,
            rows=bundle.exchanges.columns(prompts, responses=responses, captions=captions),
            cache=task.cache,
            tokens_per_batch=TOKENS_PER_BATCH,
        )[list(rows)]
    return RowBatch(
        texts=[texts[row] for row in rows],
        image_slots=[-1] * len(rows),
        image_features=None,
        encoded=tokens,
        exchanges=exchanges,
    )


PEOPLE: dict[str, object] = {"judges": ["human", "human-1", "human-2"], "categories": True}
"""The adjudicated label and both annotators', with the classes of their guideline."""

METHODS: dict[str, Method] = {
    "words": words,
    "finetuned": finetuned,
    "probe": from_recipe("msts-pocket", "optimisation.adapted.epochs=0"),
    "lora": from_recipe("msts-pocket"),
    "mpnet": from_recipe("msts-mpnet", own_teacher=PEOPLE),
    "mpnet-one": from_recipe("msts-mpnet", "committee=1", own_teacher=PEOPLE),
    "mpnet-mean": from_recipe("msts-mpnet", "pooling.queries=0", own_teacher=PEOPLE),
    "mpnet-cells": from_recipe("msts-mpnet"),
    "mpnet-words": from_recipe("msts-mpnet", "channels.lexical={share: 0.1}", own_teacher=PEOPLE),
    "mpnet-probeless": from_recipe("msts-mpnet", "channels.probe=null", own_teacher=PEOPLE),
    "mpnet-without-language": from_recipe(
        "msts-mpnet", "channels.language=null", own_teacher=PEOPLE
    ),
    "mpnet-without-likelihoods": from_recipe(
        "msts-mpnet", "channels.language.likelihoods=false", own_teacher=PEOPLE
    ),
    "mpnet-unfitted": from_recipe("msts-mpnet", "channels.fit_shares=false", own_teacher=PEOPLE),
    "minilm": from_recipe("msts-mpnet", "preset=pocket", own_teacher=PEOPLE),
}
"""By name: the words of the response alone; MiniLM fine-tuned whole; of the recipe msts-pocket,
with the same MiniLM, heads on frozen towers, and LoRA on both towers; the recipe msts-mpnet, and it
with one thing taken away: the committee, the attention pools, the annotators and their classes, the
linear probe, the language model, its likelihoods, the shares that held-out rows choose, the larger
text tower; and once with a lexical channel, too."""
