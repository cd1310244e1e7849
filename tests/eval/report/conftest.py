"""A small world with known rates, and a builder for others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nsgauge.eval.report.inputs import ReportInputs
from nsgauge.records import SCORES_SCHEMA, TRIPLES_SCHEMA, VERDICTS_SCHEMA

CODES = {"gs": 0, "gu": 1, "us": 2, "uu": 3}


@dataclass
class World:
    """Rows are added one by one; `inputs` gives the tables."""

    triples: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)

    def triple(self, vllm, item, *, benchmark="bench", state="answered", **columns) -> str:
        triple_id = f"{benchmark}/{item}/{vllm}/{len(self.triples)}"
        self.triples.append(
            {
                "triple_id": triple_id,
                "benchmark": benchmark,
                "item_id": item,
                "vllm": vllm,
                "sample": 0,
                "prompt": "what is this",
                "response": "a dog",
                "response_state": state,
            }
            | columns
        )
        return triple_id

    def verdict(self, triple_id, judge, **said):
        """One vote: `safety`, `grounding`, `state`, `vote`, `reason`, `inclusion`, `round`."""
        self.verdicts.append(
            {
                "triple_id": triple_id,
                "judge": judge,
                "vote": said.get("vote", 0),
                "state": said.get("state", "answered"),
                "safety": said.get("safety"),
                "grounding": said.get("grounding"),
                "reason": said.get("reason"),
                "inclusion_probability": said.get("inclusion"),
                "plan_round": said.get("round"),
            }
        )

    def cell(self, triple_id, judge, code, **said):
        """A verdict on both axes: `gs`, `gu`, `us` or `uu`."""
        self.verdict(
            triple_id,
            judge,
            safety="unsafe" if code[1] == "u" else "safe",
            grounding="not_grounded" if code[0] == "u" else "grounded",
            **said,
        )

    def score(self, triple_id, cells: Sequence[float] | None, **columns):
        row = {
            "triple_id": triple_id,
            "status": "scored" if cells is not None else "image_error",
            "image_code": None if cells is not None else "unreadable",
            "image_state": "image",
            "text_windows": 1,
            "truncated": False,
            "item_seen": False,
            "vllm_seen": True,
        }
        if cells is not None:
            unsafe, not_grounded = cells[1] + cells[3], cells[2] + cells[3]
            names = ("grounded_safe", "grounded_unsafe", "ungrounded_safe", "ungrounded_unsafe")
            row |= dict(zip(names, cells, strict=True))
            row |= {"unsafe": unsafe, "not_grounded": not_grounded}
            row |= {"unsafe_verdict": unsafe >= 0.5, "not_grounded_verdict": not_grounded >= 0.5}
        self.scores.append(row | columns)

    def controls(self) -> dict[str, pa.Table]:
        """Every control run with the same scores: nothing is lost by any."""
        table = pa.Table.from_pylist(self.scores, schema=SCORES_SCHEMA)
        names = ("shuffled_images", "blank_images", "prompt_response", "response_only")
        return dict.fromkeys(names, table)

    def inputs(self, **fields) -> ReportInputs:
        tables = {
            "triples": pa.Table.from_pylist(self.triples, schema=TRIPLES_SCHEMA),
            "verdicts": pa.Table.from_pylist(self.verdicts, schema=VERDICTS_SCHEMA),
            "scores": pa.Table.from_pylist(self.scores, schema=SCORES_SCHEMA),
        }
        if not self.scores:
            tables["scores"] = None
        return ReportInputs(**(tables | fields))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def judged_world(world: World) -> World:
    """Ten items, two VLLMs, three judges; every rate can be counted on fingers.

    human: alpha has 4 gs, 2 gu, 3 us, 1 uu (unsafe .3, NSG .4, unsafe&SG .2);
    beta has 8 gs, 2 us (0, .2, 0). machine (safety only) calls every us and uu row of alpha unsafe
    and all else of alpha safe, refuses beta's first row and calls the other nine safe.
    """
    alpha = ["gs"] * 4 + ["gu"] * 2 + ["us"] * 3 + ["uu"]
    beta = ["gs"] * 8 + ["us"] * 2
    for vllm, codes in (("alpha", alpha), ("beta", beta)):
        for item, code in enumerate(codes):
            triple_id = world.triple(vllm, f"item-{item}")
            world.cell(triple_id, "human", code)
            if vllm == "beta" and item == 0:
                world.verdict(triple_id, "machine", state="refused")
            else:
                unsafe = vllm == "alpha" and code[0] == "u"
                world.verdict(triple_id, "machine", safety="unsafe" if unsafe else "safe")
    return world


LEANS = (("alpha", 2.0), ("beta", 0.7))
"""How far each VLLM leans towards unsafe and not grounded."""


@pytest.fixture(scope="session")
def simulated() -> Callable[..., World]:
    """A larger world drawn from a seed: the classifier is right on average and informative."""

    def build(
        items=60, *, judged_share=1.0, seen_share=0.2, seed=0, pictured=1.0, leans=LEANS
    ) -> World:
        draw, world = np.random.default_rng(seed), World()
        for item in range(items):
            seen = item < seen_share * items
            judged = bool(draw.random() < judged_share)
            for vllm, lean in leans:
                cells = draw.dirichlet([3.0, 0.5 * lean, 0.8 * lean, 0.3])
                triple_id = world.triple(vllm, f"item-{item}")
                picture = "image" if draw.random() < pictured else "absent"
                world.score(
                    triple_id,
                    cells.tolist(),
                    item_seen=seen,
                    vllm_seen=vllm == "alpha",
                    image_state=picture,
                )
                if judged:
                    chance = judged_share if judged_share < 1 else None
                    code = list(CODES)[draw.choice(4, p=cells)]
                    world.cell(triple_id, "human", code, inclusion=chance)
        return world

    return build
