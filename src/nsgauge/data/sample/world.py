"""Writes the sample world as a data folder: pictures, triples, verdicts."""

import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image
from pydantic import Field

from nsgauge.data.images import ImageStore
from nsgauge.data.sample.answers import VLLMS, Answer, Vllm, write_answer
from nsgauge.data.sample.drawing import draw_picture
from nsgauge.data.sample.kinds import KINDS, Kind, Variant
from nsgauge.data.sample.phrases import PHRASES
from nsgauge.data.sample.verdicts import judge_answer, unjudged
from nsgauge.data.tables import DataSummary, SourceNote, write_data
from nsgauge.records import ResponseState, Triple, Verdict
from nsgauge.settings import Settings

BENCHMARK = "sample"
_PALETTE = 128


class SampleSettings(Settings):
    """How large the sample world is, and what it is drawn from."""

    seed: int = Field(7, ge=0)
    """Same seed, same world."""
    pictures_per_variant: int = Field(6, ge=1, le=200)
    """Pictures of each of the 32 look-alikes; each picture is one item."""
    answers_per_vllm: int = Field(1, ge=1, le=50)
    """Answers of each of the four VLLMs to each item."""
    unanswered_share: float = Field(0.01, ge=0, le=0.5)
    """Share of the triples whose response is empty or an error message."""


DEFAULT_WORLD = SampleSettings()
"""The world of the demo: 192 items, 768 triples."""


_NOTES = (
    "a drawn world: its VLLMs and judges are invented, and its rates say nothing of real ones",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A picture with a prompt.

    Attributes:
        item_id: Tells the kind, not the variant.
        kind: What the picture shows.
        variant: Which look-alike; the truth that a reading is held against.
        prompt: Harmless in words.
        image: Path of the picture in the data folder.
    """

    item_id: str
    kind: Kind
    variant: Variant
    prompt: str
    image: str


def write_sample(
    out: Path, *, settings: SampleSettings = DEFAULT_WORLD, overwrite: bool = False
) -> DataSummary:
    """Write the sample world to the new data folder `out`.

    The same settings give the same pictures, rows and split on any machine.

    Args:
        out: The new folder.
        settings: Size and seed.
        overwrite: Replace `out` if it is a data folder of ours.

    Raises:
        DataError: `out` is taken.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        store = ImageStore(Path(scratch))
        items = list(_items(settings, store=store))
        triples, verdicts = _answered(items, settings=settings)
        options = settings.model_dump(mode="json")
        note = SourceNote(importer="sample", options=options, notes=_NOTES, image_root=store.root)
        return write_data(
            out,
            triples=triples,
            verdicts=verdicts,
            rejects=(),
            source=note,
            overwrite=overwrite,
        )


def _rng(settings: SampleSettings, purpose: str) -> Random:
    return Random(f"{settings.seed}:{purpose}")  # noqa: S311 - nothing here is secret


def _items(settings: SampleSettings, *, store: ImageStore) -> Iterator[Item]:
    """Every kind's items, its two variants in an order that their numbers don't tell."""
    for kind in KINDS:
        rng = _rng(settings, f"items:{kind.name}")
        variants = list(Variant) * settings.pictures_per_variant
        rng.shuffle(variants)
        for number, variant in enumerate(variants):
            item_id = f"{kind.name}-{number:03}"
            brush = _rng(settings, f"picture:{item_id}")
            picture = draw_picture(kind, variant=variant, rng=brush)
            yield Item(
                item_id=item_id,
                kind=kind,
                variant=variant,
                prompt=rng.choice(PHRASES[kind.family].prompts),
                image=store.add(_gif(picture)),
            )


def _gif(picture: Image.Image) -> bytes:
    """The picture as a file.

    The split goes by a picture's bytes. A PNG's depend on the zlib that Pillow was built with; the
    compression of a GIF is Pillow's own.
    """
    buffer = io.BytesIO()
    picture.quantize(_PALETTE).save(buffer, format="GIF")
    return buffer.getvalue()


def _answered(items: list[Item], *, settings: SampleSettings) -> tuple[list[Triple], list[Verdict]]:
    """Every triple, and the verdicts on all of them."""
    triples: list[Triple] = []
    verdicts: list[Verdict] = []
    for vllm in VLLMS:
        misread = _misread_slots(items, vllm=vllm, settings=settings)
        for item in items:
            for sample in range(settings.answers_per_vllm):
                wrong = (item.item_id, sample) in misread
                triple, votes = _triple(
                    item, vllm=vllm, sample=sample, misread=wrong, settings=settings
                )
                triples.append(triple)
                verdicts += votes
    return triples, verdicts


def _misread_slots(
    items: list[Item], *, vllm: Vllm, settings: SampleSettings
) -> set[tuple[str, int]]:
    """Which of a VLLM's answers are misreadings, as (item, sample).

    Spread evenly over the variants and, within them, over the kinds (systematic sampling), so
    that a small world keeps the VLLM's share and no wording comes out linked to misreading.
    """
    chosen = set()
    for variant in Variant:
        rng = _rng(settings, f"misreadings:{vllm.name}:{variant}")
        slots = [
            (item.kind.name, rng.random(), item.item_id, sample)
            for item in items
            if item.variant is variant
            for sample in range(settings.answers_per_vllm)
        ]
        start = rng.random()
        share = vllm.misreading_share
        for place, (_, _, item_id, sample) in enumerate(sorted(slots)):
            if int((place + 1) * share + start) > int(place * share + start):
                chosen.add((item_id, sample))
    return chosen


def _triple(
    item: Item, *, vllm: Vllm, sample: int, misread: bool, settings: SampleSettings
) -> tuple[Triple, list[Verdict]]:
    triple_id = f"{item.item_id}-{vllm.name}-{sample}"
    rng = _rng(settings, f"answer:{triple_id}")
    reading = item.variant.other if misread else item.variant
    answer = write_answer(item.kind, reading=reading, misread=misread, vllm=vllm, rng=rng)
    state, response = _response(answer, share=settings.unanswered_share, rng=rng)
    triple = Triple(
        triple_id=triple_id,
        benchmark=BENCHMARK,
        item_id=item.item_id,
        vllm=vllm.name,
        sample=sample,
        prompt=item.prompt,
        response=response,
        response_state=state,
        image=item.image,
        language="en",
        extras=_extras(item, answer),
    )
    if state is not ResponseState.ANSWERED:
        return triple, unjudged(triple_id)
    judged = judge_answer(answer, variant=item.variant, triple_id=triple_id, rng=rng)
    return triple, list(judged)


def _response(answer: Answer, *, share: float, rng: Random) -> tuple[ResponseState, str]:
    """The answer's text, or now and then what stands there when a VLLM didn't answer."""
    draw = rng.random()
    if draw >= share:
        return ResponseState.ANSWERED, answer.text
    if draw < share / 2:
        return ResponseState.EMPTY, ""
    return ResponseState.NOT_A_RESPONSE, "[ERROR] upstream request timed out"


def _extras(item: Item, answer: Answer) -> str:
    """How the row was made, for tests and for looking at errors; nothing trains on it."""
    return json.dumps(
        {
            "kind": item.kind.name,
            "family": item.kind.family,
            "variant": item.variant,
            "reading": answer.reading,
            "attitude": answer.attitude,
        },
        sort_keys=True,
    )
