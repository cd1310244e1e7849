"""What occurs more than once in a data folder, and whether the default split keeps it together."""

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from nsgauge.data.folders import file_digest
from nsgauge.data.images import image_path
from nsgauge.data.split import Side, SplitSettings, assign_sides, group_keys, item_key
from nsgauge.errors import ImageError
from nsgauge.records import ResponseState

EXAMPLES = 3
"""How many items a finding names."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Contents (pictures or prompts) that lie under several items.

    Attributes:
        contents: How many do.
        items: Items under which they lie.
        across_benchmarks: How many lie under several benchmarks.
        apart: How many the default split has on more than one side.
        examples: Items under which the first of them lies, at most `EXAMPLES`.
    """

    contents: int
    items: int
    across_benchmarks: int
    apart: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What occurs more than once.

    Attributes:
        triples: Answered triples that repeat the prompt, picture, VLLM, sample number and response
            of another; without a picture, those of the same item.
        pictures: Pictures under several items, by the SHA-256 of their bytes.
        prompts: Prompts under several items.
        blind_prompts: Likewise with their caption, among the triples without a picture.
        largest_group: Items in the largest group that the split keeps together.
        sides: Triples on each side of the default split.
    """

    triples: int
    pictures: Shared
    prompts: Shared
    blind_prompts: Shared
    largest_group: int
    sides: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One item with one prompt, picture and caption."""

    benchmark: str
    item: str
    prompt: str
    caption: str | None
    digest: str | None
    side: Side
    group: str
    triples: int


def copies_in(triples: pa.Table, *, data: Path) -> Copies:
    """Look for what occurs more than once.

    Args:
        triples: TRIPLES_SCHEMA.
        data: The data folder that the pictures lie in.
    """
    places = _places(triples, data=data)
    items_of = defaultdict(set)
    for place in places:
        items_of[place.group].add(place.item)
    sides = Counter({str(side): 0 for side in Side})
    for place in places:
        sides[str(place.side)] += place.triples
    return Copies(
        triples=_repeated_triples(triples),
        pictures=_shared((place.digest, place) for place in places),
        prompts=_shared((place.prompt, place) for place in places),
        blind_prompts=_shared(((p.prompt, p.caption), p) for p in places if p.digest is None),
        largest_group=max(map(len, items_of.values()), default=0),
        sides=dict(sides),
    )


def _places(triples: pa.Table, *, data: Path) -> list[_Place]:
    """The distinct (item, prompt, picture, caption), in order of first appearance."""
    keys = ["benchmark", "item_id", "prompt", "image", "caption"]
    grouped = triples.group_by(keys, use_threads=False).aggregate([([], "count_all")]).to_pylist()
    digests = _digests({row["image"] for row in grouped if row["image"] is not None}, data=data)
    items = [item_key(row["benchmark"], row["item_id"]) for row in grouped]
    of_rows = [digests.get(row["image"]) for row in grouped]
    groups = group_keys(items, image_digests=of_rows)
    sides = assign_sides(groups, settings=SplitSettings())
    return [
        _Place(
            benchmark=row["benchmark"],
            item=item,
            prompt=row["prompt"],
            caption=row["caption"],
            digest=digest,
            side=side,
            group=group,
            triples=row["count_all"],
        )
        for row, item, digest, side, group in zip(
            grouped, items, of_rows, sides, groups, strict=True
        )
    ]


def _digests(names: Iterable[str], *, data: Path) -> Mapping[str, str]:
    """SHA-256 of each picture that is there; an import has it in the name already."""
    found = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if _DIGEST.fullmatch(stem):
            found[name] = stem
            continue
        try:
            path = image_path(data, name)
        except ImageError:
            continue
        if path.is_file():
            found[name] = file_digest(path)
    return found


def _repeated_triples(triples: pa.Table) -> int:
    answered = triples.filter(pc.equal(triples["response_state"], str(ResponseState.ANSWERED)))
    # Without its picture a row can't be told from another item's with the same words.
    items = pc.binary_join_element_wise(answered["benchmark"], answered["item_id"], "\0")
    pictures = pc.coalesce(answered["image"], items)
    keyed = answered.select(["prompt", "response", "vllm", "sample"])
    keyed = keyed.append_column("picture", pictures)
    return int(keyed.num_rows - keyed.group_by(keyed.column_names).aggregate([]).num_rows)


def _shared(contents: Iterable[tuple[Hashable, _Place]]) -> Shared:
    """The contents that lie under several items; None is no content."""
    places: dict[Hashable, list[_Place]] = defaultdict(list)
    for content, place in contents:
        if content is not None:
            places[content].append(place)
    several = [found for found in places.values() if len({place.item for place in found}) > 1]
    first = dict.fromkeys(place.item for place in several[0]) if several else {}
    return Shared(
        contents=len(several),
        items=len({place.item for found in several for place in found}),
        across_benchmarks=sum(len({place.benchmark for place in found}) > 1 for found in several),
        apart=sum(len({place.side for place in found}) > 1 for found in several),
        examples=tuple(first)[:EXAMPLES],
    )
