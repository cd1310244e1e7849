"""The corpus of one training: rows with a target, laid out, split and with their pictures."""

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from nsgauge.data.categories import categories_of
from nsgauge.data.images import decode_image, image_digest, pixels, read_image
from nsgauge.data.split import Side, assign_parts, assign_sides, group_keys, item_key
from nsgauge.data.tables import read_triples, read_verdicts, triples_of
from nsgauge.data.targets import Making, targets_from_verdicts
from nsgauge.errors import DataError, ImageError, SettingsError
from nsgauge.models.classes import CELL_CLASSES, CellClass
from nsgauge.models.language import exchange_reader
from nsgauge.models.row_windows import RowText, RowWindows
from nsgauge.models.towers.pair import Towers
from nsgauge.models.windows import RowReader
from nsgauge.records import ResponseState, Triple
from nsgauge.train.axes import AXES, axis_labels
from nsgauge.train.recipe import Recipe, TeacherSettings

Pixels = UInt8[np.ndarray, "3 side side"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Rows that can be learned from, and what was left out and why.

    Attributes:
        triples: The rows.
        texts: Their windows.
        masses: Their targets.
        classes: What the teacher tells apart: the cells, or its own categories.
        shares: Per row, the share of its votes that named each class; zeros where none did.
        parts: Per row, which member of a committee doesn't learn from it; -1 on the test side and
            where there is no committee.
        image_digests: Per row, SHA-256 of its picture's bytes; None where none is looked at.
        pictures: The same of every row that has a picture, looked at or not.
        images: Decoded pictures by digest.
        sides: Which side of the split each row is on.
        left_out: Rows left out, counted by reason.
        making: How the targets were made, by `unsafe` and `not_grounded`.
        exchanges: The rows as a language model reads them; None without such a channel.
    """

    triples: list[Triple]
    texts: list[RowText]
    masses: Float[np.ndarray, "rows observations"]
    classes: tuple[CellClass, ...]
    shares: Float[np.ndarray, "rows classes"]
    parts: Int[np.ndarray, " rows"]
    image_digests: list[str | None]
    pictures: list[str | None]
    images: dict[str, Pixels]
    sides: list[Side]
    left_out: dict[str, int]
    making: dict[str, Making]
    exchanges: RowWindows | None = None

    def rows_of(self, side: Side) -> list[int]:
        """Row numbers on one side of the split."""
        return [row for row, here in enumerate(self.sides) if here is side]

    def item_keys(self, *sides: Side) -> set[str]:
        """Digests of the items and images on these sides: what a bundle marks as seen."""
        keys = {item_key(t.benchmark, t.item_id) for t in self._on(sides)}
        images = {
            digest
            for digest, side in zip(self.pictures, self.sides, strict=True)
            if digest is not None and side in sides
        }
        return keys | images

    def vllms(self, side: Side) -> set[str]:
        """VLLMs whose answers lie on one side."""
        return {triple.vllm for triple in self._on((side,))}

    def _on(self, sides: tuple[Side, ...]) -> list[Triple]:
        return [t for t, side in zip(self.triples, self.sides, strict=True) if side in sides]


def load_corpus(data: Path, *, recipe: Recipe, towers: Towers) -> Corpus:
    """Read a data folder for one recipe.

    Raises:
        DataError: a table is missing or malformed, the teacher is unknown or too few for its
            consensus, or a side of the split has no rows.
    """
    teacher = recipe.teacher
    targets = targets_from_verdicts(
        read_verdicts(data), judges=teacher.judges, consensus=teacher.consensus
    )
    mass_of = dict(zip(targets.triple_ids, targets.masses, strict=True))
    left_out: Counter[str] = Counter()
    kept: list[Triple] = []
    for triple in triples_of(read_triples(data)):
        reason = _reason_to_leave_out(triple, has_target=triple.triple_id in mass_of)
        if reason is None:
            kept.append(triple)
        else:
            left_out[reason] += 1
    _check_vllms({triple.vllm for triple in kept}, unseen=recipe.split.unseen_vllms)
    always = recipe.captions == "always"
    pictures, images = _pictures(kept, data=data, towers=towers)
    # A picture that isn't looked at may be damaged.
    usable = [
        triple.image is None or digest is not None or (always and triple.caption is not None)
        for triple, digest in zip(kept, pictures, strict=True)
    ]
    left_out.update({"image_error": usable.count(False)} if not all(usable) else {})
    kept, pictures = list(compress(kept, usable)), list(compress(pictures, usable))
    keys = group_keys([item_key(t.benchmark, t.item_id) for t in kept], image_digests=pictures)
    digests = [
        None if always and triple.caption is not None else digest
        for triple, digest in zip(kept, pictures, strict=True)
    ]
    masses = np.array([mass_of[t.triple_id] for t in kept], dtype=np.float32).reshape(-1, 8)
    classes, shares = _classes(kept, data=data, teacher=teacher)
    sides, parts = _sides(keys, vllms=[t.vllm for t in kept], recipe=recipe)
    corpus = Corpus(
        triples=kept,
        texts=_texts(kept, digests=digests, recipe=recipe, towers=towers),
        masses=masses,
        classes=classes,
        shares=shares,
        parts=parts,
        image_digests=digests,
        pictures=pictures,
        images=images,
        sides=sides,
        left_out=dict(left_out),
        making=targets.making,
        exchanges=_exchanges(kept, digests=digests, recipe=recipe, towers=towers),
    )
    _check_sides(corpus, data=data, recipe=recipe)
    return corpus


def _classes(
    triples: list[Triple], *, data: Path, teacher: TeacherSettings
) -> tuple[tuple[CellClass, ...], Float[np.ndarray, "rows classes"]]:
    """What the head tells apart, and what the teacher named; of the cells themselves, nothing."""
    if not teacher.categories:
        return CELL_CLASSES, np.zeros((len(triples), len(CELL_CLASSES)), dtype=np.float32)
    found = categories_of(
        read_verdicts(data),
        judges=teacher.judges,
        triple_ids=[triple.triple_id for triple in triples],
    )
    named = zip(found.names, found.cells, strict=True)
    classes = tuple(CellClass(name=name, cell=cell) for name, cell in named)
    return classes, found.shares.astype(np.float32)


def _sides(
    keys: list[str], *, vllms: list[str], recipe: Recipe
) -> tuple[list[Side], Int[np.ndarray, " rows"]]:
    """Sides and parts; a committee learns from every row that isn't for testing."""
    sides = assign_sides(keys, settings=recipe.split, vllms=vllms)
    if recipe.committee == 1:
        return sides, np.full(len(keys), -1)
    test = np.array([side is Side.TEST for side in sides], dtype=bool)
    parts = np.array(assign_parts(keys, settings=recipe.split, parts=recipe.committee))
    return [side if side is Side.TEST else Side.TRAIN for side in sides], np.where(test, -1, parts)


def _check_vllms(present: set[str], *, unseen: tuple[str, ...]) -> None:
    strange = sorted(set(unseen) - present)
    if strange:
        listed = ", ".join(sorted(present))
        raise DataError(f"split.unseen_vllms {', '.join(strange)}: not among the rows' ({listed})")


def _reason_to_leave_out(triple: Triple, *, has_target: bool) -> str | None:
    if triple.response_state is not ResponseState.ANSWERED:
        return str(triple.response_state)
    return None if has_target else "no_teacher_verdict"


def _pictures(
    triples: list[Triple], *, data: Path, towers: Towers
) -> tuple[list[str | None], dict[str, Pixels]]:
    """Each row's picture by its digest, None where there is none to read, and all distinct ones."""
    images: dict[str, Pixels] = {}
    paths = dict.fromkeys(triple.image for triple in triples if triple.image is not None)
    by_path = {path: _read(path, data=data, towers=towers, images=images) for path in paths}
    return [None if t.image is None else by_path[t.image] for t in triples], images


def _read(path: str, *, data: Path, towers: Towers, images: dict[str, Pixels]) -> str | None:
    try:
        content = read_image(data, path)
        decoded = decode_image(content)
    except ImageError:
        return None
    digest = image_digest(content)
    images[digest] = pixels(decoded, side=towers.image_side_px, resize=towers.resize)
    return digest


def _texts(
    triples: list[Triple], *, digests: list[str | None], recipe: Recipe, towers: Towers
) -> list[RowText]:
    try:
        reader = RowReader(towers.tokenizer, context=towers.text_context, policy=recipe.windows)
    except ValueError as error:
        raise SettingsError(f"windows: {error}") from error
    return reader.read(
        [triple.prompt for triple in triples],
        responses=[triple.response for triple in triples],
        captions=_captions(triples, digests=digests, recipe=recipe),
    )


def _exchanges(
    triples: list[Triple], *, digests: list[str | None], recipe: Recipe, towers: Towers
) -> RowWindows | None:
    try:
        reader = exchange_reader(towers, settings=recipe.channels.language)
    except ValueError as error:
        raise SettingsError(f"channels.language: {error}") from error
    if reader is None:
        return None
    return reader.columns(
        [triple.prompt for triple in triples],
        responses=[triple.response for triple in triples],
        captions=_captions(triples, digests=digests, recipe=recipe),
    )


def _captions(
    triples: list[Triple], *, digests: list[str | None], recipe: Recipe
) -> list[str | None]:
    """Where they stand in for pictures."""
    return [
        triple.caption if recipe.captions and digest is None else None
        for triple, digest in zip(triples, digests, strict=True)
    ]


def _check_sides(corpus: Corpus, *, data: Path, recipe: Recipe) -> None:
    counts, committee = Counter(corpus.sides), recipe.committee
    wanted = (Side.TRAIN, Side.VALIDATION) if committee == 1 else (Side.TRAIN,)
    empty = [side for side in wanted if not counts[side]]
    if empty:
        raise DataError(
            f"{data}: no rows on the {' or '.join(empty)} side of the split "
            f"({len(corpus.triples)} usable rows; left out: {corpus.left_out or 'none'}); "
            "label more items, or change the fractions under `split`"
        )
    learned = corpus.parts[corpus.parts >= 0]
    if committee > 1 and len(set(learned.tolist())) < 2:
        raise DataError(
            f"{data}: the {len(learned)} rows to learn from all lie in one part of the committee, "
            "whose member would learn nothing: label more items, or set committee to 1"
        )
    if committee == 1 and recipe.optimisation.selection == "ranking":
        masses = corpus.masses[corpus.rows_of(Side.VALIDATION)]
        if not any(axis_labels(masses, rate=axis)[0].any() for axis in AXES):
            raise DataError(
                f"{data}: optimisation.selection is ranking, but no validation row is unsafe or "
                "not grounded, so no snapshot ranks them better: set it to loss, or label more"
            )
