"""Rows of the CPU benchmark about towers alone: packing, LoRA, peers, and the machine itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.scoring import world
from benchmarks.scoring.peers import transformers_text
from benchmarks.scoring.rounds import Row, compared, row
from nsgauge.eval.scoring.placement import SIZES
from nsgauge.models.lora import LoraSettings, add_lora, merge_lora
from nsgauge.models.prediction import batches_under_budget
from nsgauge.models.towers.convert import text_tower
from nsgauge.models.towers.packing import Packed, Windows
from nsgauge.models.towers.text import TextTower
from nsgauge.models.windows import RowReader, WindowPolicy

SIDE = 2048
BUDGET = SIZES["cpu"].tokens
JOINT_CONTEXT = 512
JOINT_BATCH = 32


def text_flops(tower: TextTower, *, tokens: int) -> float:
    """Of the linears: twice their weights a token; attention's own products are left out."""
    linears = sum(
        module.weight.numel()
        for module in tower.stack.modules()
        if isinstance(module, torch.nn.Linear)
    )
    return 2.0 * linears * tokens


def response_windows(rows: int, *, prompts: bool = False) -> Windows:
    """Windows of responses (or prompts) of real lengths."""
    table = world.triples(rows)
    reader = RowReader(
        world.clip_tokenizer(), context=world.CONTEXT, policy=WindowPolicy(layout="apart")
    )
    texts = table["prompt" if prompts else "response"].to_pylist()
    read = reader.columns([""] * rows, responses=texts, captions=[None] * rows)
    chosen = np.flatnonzero(read.roles == 1)
    packed = [read.windows[index] for index in chosen.tolist()]
    return Windows.of(packed)


def packs(windows: Windows, *, budget: int = BUDGET) -> list[Packed]:
    """All windows under the budget of one forward."""
    batches = batches_under_budget(windows.lengths.tolist(), tokens_per_batch=budget)
    return [windows.pack(np.array(batch)) for batch in batches]


@torch.inference_mode()
def encoded(tower: TextTower, batches: list[Packed]) -> Tensor:
    """Every batch through the tower."""
    return torch.cat([tower(batch) for batch in batches])


def relative(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.inference_mode()
def c1() -> Row:
    """The packed tower against the same run's matrix product."""
    tower, windows = world.clip_towers().text, response_windows(12)
    batches, tokens = packs(windows), int(windows.bounds[-1])
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    ratios = compared(lambda: [left @ right for _ in range(8)], lambda: encoded(tower, batches))
    work = text_flops(tower, tokens=tokens) / (8 * 2 * SIDE**3)
    return row(
        "C1",
        "packed CLIP text tower, responses",
        sides=("FLOP/s of its linears", f"FLOP/s of a {SIDE}^3 matrix product"),
        ratios=[ratio * work for ratio in ratios],
        parity="none: not the same work",
        least=0.85,
    )


def c2(*, prompts: bool) -> list[Row]:
    """Padded peers against the packed tower, with the same weights."""
    import open_clip  # noqa: PLC0415 - a peer

    torch.manual_seed(0)
    model: Any = open_clip.create_model("ViT-B-32", pretrained=None).eval()
    tower = text_tower(model, layers=None)
    windows = response_windows(12, prompts=prompts)
    batches = packs(windows)
    order = np.concatenate(
        [
            np.array(b)
            for b in batches_under_budget(windows.lengths.tolist(), tokens_per_batch=BUDGET)
        ]
    )
    padded = torch.zeros(len(windows), world.CONTEXT, dtype=torch.int64)
    for place, index in enumerate(order.tolist()):
        ids = windows.ids[windows.bounds[index] : windows.bounds[index + 1]]
        padded[place, : len(ids)] = torch.from_numpy(ids)
    rows = []
    kind, least = ("prompts", 2.0) if prompts else ("responses", 1.1)
    for peer, encode in {
        "open_clip, padded": model.encode_text,
        "transformers CLIPTextModel, padded": transformers_text(model),
    }.items():

        def padded_run(encode: Callable[[Tensor], Tensor] = encode) -> Tensor:
            with torch.inference_mode():
                return torch.cat(
                    [encode(chunk) for chunk in torch.split(padded, BUDGET // world.CONTEXT)]
                )

        difference = relative(padded_run(), encoded(tower, batches))
        rows.append(
            row(
                "C2",
                f"{peer}, {kind}",
                sides=("its time", "packed time"),
                ratios=compared(padded_run, lambda: encoded(tower, batches)),
                parity=f"relative difference {difference:.1e}",
                least=least,
                parity_holds=difference <= 1e-5,
            )
        )
    return rows


def joint_windows(rows: int) -> Windows:
    """Prompts and responses of real lengths in windows that hold both."""
    table = world.triples(rows)
    reader = RowReader(
        world.clip_tokenizer(),
        context=JOINT_CONTEXT,
        policy=WindowPolicy(layout="joint", window_tokens=JOINT_CONTEXT),
    )
    texts = (table[name].to_pylist() for name in ("prompt", "response"))
    prompts, responses = texts
    return reader.columns(prompts, responses=responses, captions=[None] * rows).windows


def padded_to(windows: Windows, *, length: int) -> Windows:
    """The same windows, each filled up to a length."""
    ids = np.zeros((len(windows), length), dtype=np.int64)
    for place, own in enumerate(np.split(windows.ids, windows.bounds[1:-1])):
        ids[place, : len(own)] = own
    return Windows(
        ids=ids.ravel(),
        bounds=np.arange(len(windows) + 1) * length,
        second=np.zeros((len(windows), 2), dtype=np.int64),
    )


@torch.inference_mode()
def padding_parity(tower: TextTower, windows: Windows, *, filled: Windows) -> float:
    """How far packed windows are from padded ones, in a causal tower pooled at the end."""
    every, length = np.arange(len(windows)), int(filled.lengths[0])
    # What follows a window changes nothing of it, and its end is where it was.
    ends = torch.from_numpy(every * length + windows.lengths - 1)
    wanted = tower.projection(tower.tokens(filled.pack(every))[ends])
    return relative(tower(windows.pack(every)), wanted)


def c3() -> Row:
    """Joint windows: a batch in the order it comes, padded to its longest, against packing."""
    tower, windows = world.clip_towers().text, joint_windows(JOINT_BATCH)
    tower.position_embedding = torch.nn.Embedding(JOINT_CONTEXT, world.CLIP_TEXT.width)
    longest = int(windows.lengths.max())
    filled = padded_to(windows, length=longest)
    padded, batches = [filled.pack(np.arange(len(filled)))], packs(windows)
    difference = padding_parity(tower, windows, filled=filled)
    spent = longest * len(windows) / int(windows.bounds[-1])
    return row(
        "C3",
        f"joint windows of up to {JOINT_CONTEXT} tokens, {JOINT_BATCH} a batch as they come",
        sides=("padded to the longest", "packed time"),
        ratios=compared(lambda: encoded(tower, padded), lambda: encoded(tower, batches), rounds=5),
        parity=f"relative difference {difference:.1e}; {spent:.2f} times the tokens",
        least=2.0,
        parity_holds=difference <= 1e-5,
    )


def c4() -> Row:
    """Adapters beside the weights against adapters merged into them."""
    apart, merged = world.clip_towers().text, world.clip_towers().text
    for tower in (apart, merged):
        torch.manual_seed(2)
        add_lora(tower, settings=LoraSettings(rank=8, image=False))
        for name, weight in tower.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(weight, std=0.01)
        tower.eval()
    merge_lora(merged)
    batches = packs(response_windows(12))
    difference = relative(encoded(apart, batches), encoded(merged, batches))
    return row(
        "C4",
        "LoRA on all text linears",
        sides=("unmerged time", "merged time"),
        ratios=compared(lambda: encoded(apart, batches), lambda: encoded(merged, batches)),
        parity=f"relative difference {difference:.1e}",
        least=1.05,
        parity_holds=difference <= 1e-5,
    )


def a_against_a() -> Row:
    """The same work twice: how far this machine's noise moves a ratio."""
    tower = world.clip_towers().text
    batches = packs(response_windows(12))
    ratios = compared(lambda: encoded(tower, batches), lambda: encoded(tower, batches))
    median = float(np.median(ratios))
    return row(
        "A/A",
        "packed tower against itself",
        sides=("time", "time"),
        ratios=ratios,
        parity="noisy beyond 0.95 to 1.05",
        parity_holds=0.95 <= median <= 1.05,
    )
