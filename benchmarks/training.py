"""What a training step costs: triples per second and memory, against what a user would write.

    python -m benchmarks.training --out benchmarks/results/training.json

On the sample world, on the device that torch finds. Every pair is timed in one run, a round of one
and a round of the other in turn, by CPU time (on a GPU by the clock, after it has caught up); the
ratio is the median over rounds. Parity is checked before speed: what both sides say of the same
rows, or where a peer is another model, that both lower their loss.

cached      a step of the frozen stage that has the towers read its batch / from cached vectors
shared      a step with adapters, one picture a row / four rows of a picture together
naive       a step of the whole open_clip model, padded texts, one picture a row, all weights / ours
lora        ours with adapters, forward, backward and update / its forward alone

Peak memory is of a process of its own for each side. Ten minutes on one CPU core.
"""

import argparse
import json
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nsgauge.data.batches import shuffled_batches
from nsgauge.data.folders import new_file
from nsgauge.data.sample.world import write_sample
from nsgauge.data.split import Side
from nsgauge.models.network import Network, NetworkSettings, build_network
from nsgauge.models.preset import load_preset
from nsgauge.models.towers.open_clip_door import reference_of
from nsgauge.models.towers.pair import load_towers
from nsgauge.train.batches import CorpusBatches, TrainBatch
from nsgauge.train.corpus import Corpus, load_corpus
from nsgauge.train.features import CorpusVectors, corpus_vectors
from nsgauge.train.loss import committee_loss, row_losses
from nsgauge.train.recipe import Recipe, load_recipe

ROWS = 16
ROUNDS = 7
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
Step = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What all sides learn from."""

    recipe: Recipe
    corpus: Corpus
    seed: int = 0

    def batches(self, *, rows_per_image: int, vectors: CorpusVectors | None) -> list[TrainBatch]:
        """Whole batches of the training side, on the device."""
        rows = self.corpus.rows_of(Side.TRAIN)
        dealt = shuffled_batches(
            [self.corpus.image_digests[row] for row in rows],
            rows_per_batch=ROWS,
            rows_per_image=rows_per_image,
            generator=np.random.default_rng(self.seed),
        )
        whole = [[rows[at] for at in batch] for batch in dealt if len(batch) == ROWS]
        made = CorpusBatches(self.corpus, batches=whole, vectors=vectors, members=1)
        return [batch.to(DEVICE) for batch in made]


def world(data: Path) -> World:
    """The sample, drawn and read."""
    if not data.exists():
        write_sample(data)
    recipe = load_recipe("sample-pocket", overrides=("committee=1",))
    towers = load_towers(load_preset(recipe.preset))
    return World(recipe=recipe, corpus=load_corpus(data, recipe=recipe, towers=towers))


def network_of(found: World, *, adapters: bool) -> Network:
    """An untrained network on fresh towers."""
    recipe = found.recipe
    lora = recipe.lora.model_copy(update={"image": adapters, "text": adapters})
    settings = NetworkSettings(lora=lora, fusion=recipe.fusion, ordinals=recipe.windows.max_windows)
    torch.manual_seed(found.seed)
    return build_network(load_towers(load_preset(recipe.preset)), settings=settings).to(DEVICE)


def stepper(network: Network, *, batches: Sequence[TrainBatch], forward_only: bool = False) -> Step:
    """One step after another of our training; gives the loss."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=DEVICE.type == "cuda")
    state = {"at": 0}
    network.train()

    def step() -> float:
        batch = batches[state["at"] % len(batches)]
        state["at"] += 1
        with torch.set_grad_enabled(not forward_only):
            said = network.class_log_probabilities(batch.inputs)
            losses = row_losses(
                said, log_cells=network.cells(said), masses=batch.masses, shares=batch.shares
            )
            loss = committee_loss(losses, teaches=batch.teaches)
        if not forward_only:
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        return float(loss.item())

    return step


def naive(found: World) -> Step:
    """The model as open_clip builds it, and a linear head: what one would write in an afternoon."""
    preset = load_preset(found.recipe.preset)
    reference, tokenizer = reference_of(preset, tower_directory=None), load_towers(preset).tokenizer
    model: Any = reference.model.to(DEVICE).train()
    rows = found.corpus.rows_of(Side.TRAIN)
    triples = [found.corpus.triples[row] for row in rows]
    ids = tokenizer.ids([f"{triple.prompt}\n{triple.response}" for triple in triples])
    padded = torch.zeros(len(rows), reference.text_context, dtype=torch.int64)
    for row, found_ids in enumerate(ids):
        window = (tokenizer.start, *found_ids[: reference.text_context - 2], tokenizer.end)
        padded[row, : len(window)] = torch.tensor(window)
    pictures = [found.corpus.images[str(found.corpus.image_digests[row])] for row in rows]
    masses = torch.from_numpy(found.corpus.masses[rows]).to(DEVICE)
    head = nn.LazyLinear(masses.shape[1]).to(DEVICE)
    optimizer: torch.optim.Optimizer | None = None
    state = {"at": 0}

    def step() -> float:
        nonlocal optimizer
        at = [(state["at"] + place) % len(rows) for place in range(ROWS)]
        state["at"] += ROWS
        pixels = torch.from_numpy(np.stack([pictures[row] for row in at])).to(DEVICE)
        image = model.encode_image((pixels.float() / 255 - 0.5) / 0.5)
        text = model.encode_text(padded[at].to(DEVICE))
        said = head(torch.cat([image, text], dim=1)).log_softmax(dim=1)
        loss = -(masses[at] * said).sum(dim=1).mean()
        if optimizer is None:
            optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=1e-5)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return float(loss.item())

    return step


def side(name: str, *, found: World) -> Step:
    """One side of a comparison, by name."""
    if name == "naive":
        return naive(found)
    adapters = name.startswith("adapted")
    network = network_of(found, adapters=adapters)
    vectors = corpus_vectors(network, corpus=found.corpus, cache=None) if name == "cached" else None
    batches = found.batches(rows_per_image=4 if name != "adapted-apart" else 1, vectors=vectors)
    return stepper(network, batches=batches, forward_only=name == "adapted-forward")


PAIRS = {
    "cached": ("read", "cached"),
    "shared": ("adapted-apart", "adapted"),
    "naive": ("naive", "adapted"),
    "lora": ("adapted", "adapted-forward"),
}


def _seconds(step: Step, *, steps: int) -> float:
    clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time
    begun = clock()
    for _ in range(steps):
        step()
    # `step` gives a number, so a GPU has caught up.
    return clock() - begun


def compare(name: str, *, found: World, steps: int) -> dict[str, object]:
    """Time one pair."""
    names = PAIRS[name]
    sides = [side(each, found=found) for each in names]
    first = [each() for each in sides]
    rounds = [[_seconds(each, steps=steps) for each in sides] for _ in range(ROUNDS)]
    seconds = np.array(rounds) / (steps * ROWS)
    ratios = seconds[:, 0] / seconds[:, 1]
    rates = 1 / np.median(seconds, axis=0)
    return {
        "name": name,
        "a": names[0],
        "b": names[1],
        "a_triples_per_second": round(float(rates[0]), 2),
        "b_triples_per_second": round(float(rates[1]), 2),
        "ratio_median": round(float(np.median(ratios)), 3),
        "ratio_min": round(float(ratios.min()), 3),
        "ratio_max": round(float(ratios.max()), 3),
        "rounds": ROUNDS,
        "a_first_loss": round(first[0], 5),
        "b_first_loss": round(first[1], 5),
    }


def cached_parity(found: World) -> float:
    """Largest difference between what is said from cached vectors and from the towers."""
    network = network_of(found, adapters=False)
    vectors = corpus_vectors(network, corpus=found.corpus, cache=None)
    network.to(DEVICE).eval()
    said = [
        network(found.batches(rows_per_image=4, vectors=each)[0].inputs) for each in (vectors, None)
    ]
    return float((said[0] - said[1]).abs().max().detach())


def peak_mib(name: str, *, data: Path) -> float:
    """Peak memory of a process that takes some steps on one side."""
    words = [sys.executable, "-m", "benchmarks.training", "--side", name, "--data", str(data)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> int:
    """Measure all pairs, or take some steps on one side and say how much memory that took."""
    parser = argparse.ArgumentParser(description="What a training step costs.")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    parser.add_argument("--data", type=Path, help="a drawn sample; drawn anew if left out")
    parser.add_argument("--steps", type=int, default=4, help="in a round")
    parser.add_argument("--side", help="take steps on this side alone and print its peak MiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = options.data or Path(scratch) / "data"
        found = world(data)
        if options.side:
            step = side(options.side, found=found)
            for _ in range(3):
                step()
            sys.stdout.write(f"{_peak_mib():.0f}")
            return 0
        rows = [compare(name, found=found, steps=options.steps) for name in PAIRS]
        memory = {
            name: peak_mib(name, data=data) for name in dict.fromkeys(sum(PAIRS.values(), ()))
        }
        result = {
            "device": DEVICE.type,
            "rows": rows,
            "cached_parity": cached_parity(found),
            "peak_mib": memory,
            "date": datetime.now(UTC).date().isoformat(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("nsgauge", "torch", "open-clip-torch", "peft")},
            "command": shlex.join(["python", "-m", "benchmarks.training", *sys.argv[1:]]),
        }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if options.out:
        with new_file(options.out, overwrite=True) as part:
            part.write_text(text, encoding="utf-8")
    return 0


def _peak_mib() -> float:
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # Not ru_maxrss, in which the process that started this one lives on.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
