"""Methods that aren't ours: the words of a response alone, and a small tower fine-tuned whole."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.lexical import words_features
from benchmarks.msts.rows import AXES
from benchmarks.msts.runs import THRESHOLDS
from benchmarks.msts.task import Opinion, Task
from nsgauge.data.split import Side, assign_parts
from nsgauge.models.prediction import batches_under_budget
from nsgauge.models.preset import load_preset
from nsgauge.models.row_windows import TextRole
from nsgauge.models.towers.packing import Windows
from nsgauge.models.towers.pair import Towers, load_towers
from nsgauge.models.windows import RowReader, WindowPolicy
from nsgauge.train.calibrate import threshold_choice
from nsgauge.train.recipe import ThresholdTarget

PARTS = 5
EPOCHS = 3
ROWS_PER_STEP = 16
TOWER_RATE, HEAD_RATE = 5e-5, 1e-3
TOKENS_PER_BATCH = 8192


def words(task: Task) -> Opinion:
    """TF-IDF of the response and logistic regression, with the teacher's doubts as weights.

    From every row that isn't for testing, and with thresholds by what each fifth of them is told
    to be by the other four: as a committee of the package does.
    """
    responses = [triple.response for triple in task.rows.triples]
    parts = np.array(assign_parts(task.rows.keys, settings=task.split, parts=PARTS))
    opinion = Opinion(probability={}, verdict={})
    for axis in AXES:
        known = task.on(Side.TRAIN, Side.CALIBRATION, Side.VALIDATION, axis=axis)
        learn = np.flatnonzero(known)
        if learn.size == 0:
            continue
        reader = words_features().fit([responses[row] for row in learn])
        features = csr_array(reader.transform(responses))
        share = task.lesson.probability[axis]
        unlearned = np.full(len(responses), np.nan)
        for part in range(PARTS):
            others, own = known & (parts != part), known & (parts == part)
            if own.any():
                told = _regressed(features, rows=np.flatnonzero(others), share=share)
                unlearned[own] = told[own]
        threshold = _threshold(unlearned, task=task, axis=axis, chosen_on=known)
        opinion.probability[axis] = _regressed(features, rows=learn, share=share)
        opinion.verdict[axis] = opinion.probability[axis] >= threshold
    return opinion


def _regressed(
    features: csr_array, *, rows: Int[np.ndarray, " learned"], share: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Every row's probability, learned from some; both classes weigh the same."""
    own = share[rows]
    twice = np.concatenate([rows, rows])
    label = np.repeat([1, 0], rows.size)
    weight = np.concatenate([own / own.mean(), (1 - own) / (1 - own).mean()]) / 2
    used = weight > 0
    regression = LogisticRegression(C=4.0, max_iter=2000)
    regression.fit(features[twice[used]], label[used], sample_weight=weight[used])
    return np.asarray(regression.predict_proba(features)[:, 1])


def finetuned(task: Task) -> Opinion:
    """MiniLM, every weight of it, as a cross-encoder of caption, prompt and response.

    One window a row, what doesn't fit is cut; a linear layer on its vector gives both axes' logits.
    It learns from 70 of 100 items and chooses thresholds on 10; to learn and choose on all 80, as
    `words` does, would take six times as long.
    """
    torch.manual_seed(task.seed)
    towers = load_towers(load_preset("pocket"))
    windows = _windows(task, towers=towers)
    encoder = nn.Sequential(towers.text, nn.Linear(towers.text.width, len(AXES)))
    _fine_tune(encoder, windows=windows, task=task)
    asked = np.array([side in (Side.VALIDATION, Side.TEST) for side in task.sides])
    told = _told(encoder, windows=windows, asked=asked)
    opinion = Opinion(probability={}, verdict={})
    for number, axis in enumerate(AXES):
        if task.lesson.known[axis].any():
            selected = task.on(Side.VALIDATION, axis=axis)
            threshold = _threshold(told[:, number], task=task, axis=axis, chosen_on=selected)
            opinion.probability[axis] = told[:, number]
            opinion.verdict[axis] = told[:, number] >= threshold
    return opinion


def _fine_tune(encoder: nn.Sequential, *, windows: Windows, task: Task) -> None:
    """AdamW for a fixed number of epochs, rates that rise and then fall as a cosine."""
    sides = (Side.TRAIN, Side.CALIBRATION)
    learned = np.flatnonzero(np.any([task.on(*sides, axis=axis) for axis in AXES], axis=0))
    steps = list(_steps(learned, generator=np.random.default_rng(task.seed)))
    rates = [TOWER_RATE, HEAD_RATE]
    optimizer = torch.optim.AdamW(
        [
            {"params": part.parameters(), "lr": rate}
            for part, rate in zip(encoder, rates, strict=True)
        ],
        weight_decay=0.01,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rates, total_steps=len(steps), pct_start=0.1
    )
    share, known = (
        torch.from_numpy(np.stack([of[axis] for axis in AXES], axis=1).astype(np.float32))
        for of in (task.lesson.probability, task.lesson.known)
    )
    encoder.train()
    for step in steps:
        logits = encoder(windows.pack(step))
        loss = binary_cross_entropy_with_logits(logits, share[step], weight=known[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _threshold(
    told: Float[np.ndarray, " rows"],
    *,
    task: Task,
    axis: str,
    chosen_on: Bool[np.ndarray, " rows"],
) -> float:
    """Chosen by counting: these probabilities aren't calibrated."""
    truth = task.lesson.probability[axis][chosen_on] > 0.5
    target = ThresholdTarget.model_validate({"target": THRESHOLDS[task.teacher]})
    choice = threshold_choice(told[chosen_on], positive=truth, target=target, calibrated=False)
    return choice.threshold


def _windows(task: Task, *, towers: Towers) -> Windows:
    """One window a row."""
    policy = WindowPolicy(layout="joint", caption_tokens=48, max_windows=1)
    reader = RowReader(towers.tokenizer, context=towers.text_context, policy=policy)
    triples = task.rows.triples
    found = reader.columns(
        [triple.prompt for triple in triples],
        responses=[triple.response for triple in triples],
        captions=[triple.caption for triple in triples],
    )
    joint = np.flatnonzero(found.roles == TextRole.JOINT)
    one = np.ones(len(triples), dtype=np.int64)
    return found.having(joint, each=one, truncated=found.truncated).windows


def _steps(
    rows: Int[np.ndarray, " rows"], *, generator: np.random.Generator
) -> Iterator[Int[np.ndarray, " step"]]:
    """The rows of each step, epoch after epoch."""
    for _ in range(EPOCHS):
        order = generator.permutation(rows)
        yield from (order[at : at + ROWS_PER_STEP] for at in range(0, len(rows), ROWS_PER_STEP))


@torch.inference_mode()
def _told(
    encoder: nn.Module, *, windows: Windows, asked: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows axes"]:
    """Probabilities of the rows that are asked for; of others NaN."""
    encoder.eval()
    told = np.full((len(windows), len(AXES)), np.nan)
    rows = np.flatnonzero(asked)
    lengths = windows.lengths[rows].tolist()
    for batch in batches_under_budget(lengths, tokens_per_batch=TOKENS_PER_BATCH):
        logits: Tensor = encoder(windows.pack(rows[batch]))
        told[rows[batch]] = logits.sigmoid().numpy()
    return told
