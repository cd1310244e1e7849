"""Captioned pictures of what is no thing of the world: they teach what names look like."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.pictures.source import CAPTIONS, PACKAGES
from benchmarks.pictures.things import Thing, stems
from benchmarks.pictures.words import CAPTION_PROMPT, READINGS
from nsgauge.data.images import ImageStore, read_image
from nsgauge.errors import DataError
from nsgauge.protocol import Grounding
from nsgauge.records import Triple, Verdict

CAPTION_BENCHMARK = "captions"
MATCHER = "caption-match"
"""Says of a captioned picture whether the caption is its own, and nothing of safety."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """A drawing and the name of what it shows."""

    code: str
    name: str
    image: str


def captioned(
    things: Sequence[Thing], *, unseen: Sequence[Thing], source: Path, store: ImageStore
) -> Iterator[Captioned]:
    """Drawings of everything but the things, and of nothing that is named like an unseen one.

    Raises:
        DataError: the source has no captions, or a drawing can't be read.
    """
    path = source / CAPTIONS
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error}; run `python -m benchmarks.pictures fetch`") from error
    ours = {thing.code for thing in things}
    close = stems(name for thing in unseen for name in thing.names)
    for code, entry in sorted(names.items()):
        if code in ours or stems([entry["name"], *entry["short"]]) & close:
            continue
        for package in PACKAGES:
            relative = f"{package.artist}/{code}{package.suffix}"
            if (source / relative).exists():
                yield Captioned(
                    code=code, name=entry["name"], image=store.add(read_image(source, relative))
                )


def captions(
    pictures: Sequence[Captioned], *, count: int, seed: int
) -> Iterator[tuple[Triple, list[Verdict]]]:
    """`count` rows for each picture that say what it shows, every other one wrongly."""
    for number, picture in enumerate(pictures):
        rng = Random(f"{seed}:caption:{picture.image}")  # noqa: S311 - nothing here is secret
        for place in range(count):
            said = rng.choice(pictures) if place % 2 else picture
            right = said.code == picture.code
            triple = Triple(
                triple_id=f"caption-{number}-{place}",
                benchmark=CAPTION_BENCHMARK,
                item_id=f"{picture.code}-{number}",
                vllm="captions",
                prompt=CAPTION_PROMPT,
                response=rng.choice(READINGS).format(name=said.name),
                image=picture.image,
                language="en",
            )
            verdict = Verdict(
                triple_id=triple.triple_id,
                judge=MATCHER,
                grounding=Grounding.GROUNDED if right else Grounding.NOT_GROUNDED,
            )
            yield triple, [verdict]
