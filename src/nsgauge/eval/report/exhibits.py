"""The texts and the picture of the few rows that a page shows, cut and re-encoded small."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from nsgauge.data.images import decode_image, read_image
from nsgauge.errors import ImageError

THUMBNAIL_SIDE = 224
"""Longest side of a thumbnail, in px."""
THUMBNAIL_BYTES = 20_000
"""A thumbnail that can't be made this small is left out."""
_QUALITIES = (70, 50, 30)
_LONGEST_PROMPT = 1_000
_LONGEST_RESPONSE = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """What one row looks like; texts are plain, and may be hostile.

    Attributes:
        prompt: Cut to 1,000 characters, the last three dots if so.
        response: Cut to 3,000 characters likewise.
        caption: The caption that stands in for the picture; None if there is none.
        reason: What the judge gave as its reason, cut to 1,000 characters; None if it gave none.
        picture: A JPEG of our own making as a `data:` URI; None where there is none.
        picture_note: Why a picture that the row names isn't shown; None otherwise.
    """

    prompt: str
    response: str
    caption: str | None
    reason: str | None
    picture: str | None
    picture_note: str | None


def exhibits_of(
    triple_ids: Sequence[str],
    *,
    triples: Iterable[pa.Table],
    verdicts: pa.Table,
    judge: str,
    images: Path | None,
) -> dict[str, Exhibit]:
    """The exhibits of some rows, by triple id.

    Args:
        triple_ids: Which.
        triples: The data folder's, in any number of parts.
        verdicts: With the columns triple_id, judge and reason.
        judge: Whose reason is shown: that of its first vote that gives one.
        images: The folder that pictures are named within; None leaves pictures out.
    """
    wanted = pa.array(list(triple_ids), pa.string())
    reasons = _reasons(verdicts, judge=judge, wanted=wanted)
    found = {}
    for part in triples:
        for row in part.filter(pc.is_in(part["triple_id"], value_set=wanted)).to_pylist():
            name = row["triple_id"]
            found[name] = _exhibit(row, reason=reasons.get(name), images=images)
    return found


def thumbnail(content: bytes) -> str | None:
    """A small JPEG of a picture file as a `data:` URI, without any byte of the original.

    Returns:
        None if it can't be made as small as `THUMBNAIL_BYTES`.

    Raises:
        ImageError: as `decode_image`.
    """
    image = decode_image(content)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    # What Pillow carries along (EXIF, profiles, comments) would be written again.
    clean = Image.frombytes("RGB", image.size, image.tobytes())
    for quality in _QUALITIES:
        buffer = BytesIO()
        clean.save(buffer, format="JPEG", quality=quality, optimize=True)
        if buffer.tell() <= THUMBNAIL_BYTES:
            return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode('ascii')}"
    return None


def _reasons(verdicts: pa.Table, *, judge: str, wanted: pa.Array) -> dict[str, str]:
    mine = pc.and_(
        pc.equal(verdicts["judge"], judge), pc.is_in(verdicts["triple_id"], value_set=wanted)
    )
    given = verdicts.filter(pc.and_(mine, pc.is_valid(verdicts["reason"])))
    pairs = zip(given["triple_id"].to_pylist(), given["reason"].to_pylist(), strict=True)
    reasons: dict[str, str] = {}
    for triple_id, reason in pairs:
        reasons.setdefault(triple_id, reason)
    return reasons


def _exhibit(row: dict[str, Any], *, reason: str | None, images: Path | None) -> Exhibit:
    picture, note = None, None
    if row["image"] is not None and images is not None:
        try:
            picture = thumbnail(read_image(images, row["image"]))
            note = None if picture else "it can't be made small enough for this page"
        except ImageError as error:
            note = error.code.replace("_", " ")
    return Exhibit(
        prompt=_cut(row["prompt"], most=_LONGEST_PROMPT),
        response=_cut(row["response"], most=_LONGEST_RESPONSE),
        caption=None if row["caption"] is None else _cut(row["caption"], most=_LONGEST_PROMPT),
        reason=None if reason is None else _cut(reason, most=_LONGEST_PROMPT),
        picture=picture,
        picture_note=note,
    )


def _cut(text: str, *, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
