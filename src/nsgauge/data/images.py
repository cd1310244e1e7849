"""Pictures: found safely, decoded fully, stored by content, cut to the side a tower wants.

Policy: a file must be whole, of a known format, at most `PIXELS_LIMIT` pixels and not a ribbon;
then EXIF orientation is applied, alpha lies on white, 16-bit grey is rescaled, an animation is its
first frame. Nothing is ever replaced by a grey picture: what fails is an ImageError with a code.
"""

import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from struct import error as StructError  # noqa: N812 - an exception under a lower-case name
from typing import Literal
from zlib import error as ZlibError  # noqa: N812 - likewise

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image

from nsgauge.errors import ImageError

PIXELS_LIMIT = 50_000_000
"""A decoded picture has at most this many pixels (150 MB as RGB)."""
ASPECT_LIMIT = 100
"""The longer side is at most this many times the shorter one."""
BYTES_LIMIT = 256 * 2**20
"""A picture file has at most this many bytes."""
DECODING = "scaled-1.5"
"""How `pixels_of` decodes, for whoever keeps what was made of its pixels."""
IMAGES_FOLDER = "images"
"""Where a data folder keeps its pictures."""

Resize = Literal["crop", "squash"]

_SUFFIXES = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
}
# MPO is what Pillow calls a JPEG with a second picture inside; it can't be asked for by name.
_FORMATS = tuple(name for name in _SUFFIXES if name != "MPO")
# What Pillow's parsers raise on hostile bytes; UnidentifiedImageError is an OSError.
_PILLOW_FAILURES = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    StructError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    ZlibError,
)
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW_FOLDER = str(Path(PIL.__file__).parent)
# `catch_warnings` swaps process-wide state, so only one thread may be inside it.
_WARNINGS_LOCK = threading.Lock()


def image_digest(content: bytes) -> str:
    """SHA-256 of a picture file's bytes, in hex: the identity of an image everywhere."""
    return hashlib.sha256(content).hexdigest()


def image_path(root: Path, relative: str) -> Path:
    """The real path of `relative`, once it is known to lie under the real path of `root`.

    Args:
        root: The folder that the picture must lie in after every link is followed.
        relative: Path relative to `root`, with forward slashes.

    Raises:
        ImageError: `unsafe_path`: empty, absolute, a URL, with NUL, or it leads out of `root`.
    """
    refused = f"picture path {relative!r} refused: wanted one inside {root}, the image root"
    windows = PureWindowsPath(relative)
    outside = PurePosixPath(relative).is_absolute() or windows.drive or windows.root
    if not relative or "\0" in relative or "://" in relative or outside:
        raise ImageError("unsafe_path", refused)
    try:
        real_root = root.resolve()
        path = (real_root / relative).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ImageError("unsafe_path", f"{refused} ({error})") from error
    if not path.is_relative_to(real_root):
        raise ImageError("unsafe_path", refused)
    return path


def read_image(root: Path, relative: str) -> bytes:
    """The bytes of the picture file `relative` under `root`, and of nothing outside it.

    Raises:
        ImageError: `unsafe_path` (see `image_path`), `missing`, `not_a_file`, `empty`,
            `too_large` or `unreadable`.
    """
    path = image_path(root, relative)
    try:
        if not path.exists():
            raise ImageError("missing", f"no picture {relative!r} under {root}")
        if not path.is_file():
            raise ImageError("not_a_file", f"{relative!r} under {root} is not an ordinary file")
        if path.stat().st_size > BYTES_LIMIT:
            raise ImageError("too_large", f"{relative!r} has more than {BYTES_LIMIT} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"{relative!r} under {root}: {error}") from error
    if not content:
        raise ImageError("empty", f"{relative!r} under {root} has no bytes")
    return content


def decode_image(content: bytes) -> Image.Image:
    """The picture in RGB, decoded to the last pixel; see the module for the policy.

    Raises:
        ImageError: `empty`, `not_an_image`, `too_large`, `bad_shape`, `suspect` (Pillow warned of
            its metadata), `damaged` (truncated or corrupt) or `unsupported_mode`.
    """
    _, image = _decode(content)
    return image


def pixels(image: Image.Image, *, side: int, resize: Resize) -> UInt8[np.ndarray, "3 side side"]:
    """The picture as bytes of the size that a tower reads, by bicubic resampling.

    Args:
        image: In RGB, as `decode_image` gives it.
        side: Height and width wanted, in px.
        resize: `crop` brings the shorter side to `side` and cuts the centre out; `squash` brings
            both sides to it.

    Raises:
        ValueError: `image` isn't RGB or `side` isn't positive.

    Source: open_clip's `image_transform(side, is_train=False)` before normalisation, bit for bit.
    """
    if image.mode != "RGB" or side < 1:
        raise ValueError(f"expected RGB and side >= 1, got {image.mode} and {side}: decode_image")
    if resize == "squash":
        sized = image.resize((side, side), Image.Resampling.BICUBIC)
    else:
        sized = _centre(_shortest_side(image, side=side), side=side)
    return np.ascontiguousarray(np.asarray(sized).transpose(2, 0, 1))


def pixels_of(content: bytes, *, side: int, resize: Resize) -> UInt8[np.ndarray, "3 side side"]:
    """`pixels` of a picture file, of a large JPEG decoded at a part of its size.

    A JPEG is decoded at 1/2, 1/4 or 1/8 where both sides stay at least 1.5 times the side wanted,
    which takes a fraction of the time and moves pixels by less than 1 of 255 in the mean. All else
    is decoded in full.

    Raises:
        ImageError: as `decode_image`.
    """
    _, image = _decode(content, at_least=3 * side // 2)
    return pixels(image, side=side, resize=resize)


class ImageStore:
    """Pictures copied to `root/images`, each checked by a full decode and named by its SHA-256.

    Args:
        root: The folder that gets an `images` folder; created when the first picture comes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[tuple[Path, str], str | ImageError] = {}

    def add(self, content: bytes) -> str:
        """Store one picture's bytes as they are; the name to write in `Triple.image`.

        Raises:
            ImageError: as `decode_image`.
        """
        kind, _ = _decode(content)
        name = f"{IMAGES_FOLDER}/{image_digest(content)}{_SUFFIXES[kind]}"
        target = self.root / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            part.write_bytes(content)
            part.replace(target)
        return name

    def add_file(self, folder: Path, relative: str) -> str:
        """Store the picture file `relative` under `folder`; each file is read and decoded once.

        Raises:
            ImageError: as `read_image` and `decode_image`.
        """
        key = (folder, relative)
        if key not in self._seen:
            try:
                self._seen[key] = self.add(read_image(folder, relative))
            except ImageError as error:
                self._seen[key] = error
        found = self._seen[key]
        if isinstance(found, ImageError):
            raise ImageError(found.code, str(found))
        return found


def _decode(content: bytes, *, at_least: int | None = None) -> tuple[str, Image.Image]:
    """Pillow's name of the format, and the picture in RGB; a JPEG maybe at a part of its size."""
    if not content:
        raise ImageError("empty", "the picture has no bytes")
    with _opened(content) as image:
        kind = str(image.format)
        try:
            if at_least is not None:
                # Does nothing but to a JPEG.
                image.draft(None, (at_least, at_least))
            image.load()
            orientation = _orientation(image)
            upright = _rgb(image)
        except _PILLOW_FAILURES as error:
            raise ImageError("damaged", f"the picture can't be decoded: {error}") from error
        turn = _TURNS.get(orientation)
        return kind, upright if turn is None else upright.transpose(turn)


def _opened(content: bytes) -> Image.Image:
    """The picture with its header read and its size found to be within bounds."""
    try:
        with _warnings_refused():
            image = Image.open(BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError("too_large", f"{error}; at most {PIXELS_LIMIT} are read") from error
    except _PILLOW_FAILURES as error:
        known = ", ".join(_FORMATS)
        raise ImageError("not_an_image", f"not a readable picture (known: {known})") from error
    width, height = image.size
    if width * height > PIXELS_LIMIT:
        image.close()
        wanted = f"at most {PIXELS_LIMIT} pixels are read: resize it"
        raise ImageError("too_large", f"the picture is {width} x {height} px; {wanted}")
    if min(width, height) < 1 or max(width, height) > ASPECT_LIMIT * min(width, height):
        image.close()
        wanted = f"sides may differ by {ASPECT_LIMIT} times: crop it"
        raise ImageError("bad_shape", f"the picture is {width} x {height} px; {wanted}")
    return image


@contextmanager
def _warnings_refused() -> Iterator[None]:
    """Turn a warning of Pillow's into an ImageError; other threads' warnings pass unjudged."""
    with _WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    ours = [w for w in caught if w.filename.startswith(_PILLOW_FOLDER)]
    # The bomb warning starts above our own limit, which is checked next and names its code.
    ours = [w for w in ours if not issubclass(w.category, Image.DecompressionBombWarning)]
    if ours:
        raise ImageError("suspect", f"Pillow warns of the picture: {ours[0].message}")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none."""
    with _warnings_refused():
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> Image.Image:
    """The first frame in RGB, with what is transparent on white."""
    if image.mode in ("I", "F") and not (image.mode == "I" and image.format == "PNG"):
        wanted = "save it with 8 or 16 bits a channel"
        raise ImageError("unsupported_mode", f"the picture has mode {image.mode}: {wanted}")
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits rescaled to 8: Pillow's own conversion would clip it instead."""
    values = np.asarray(image).astype(np.int64)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        values = np.where(values == clear, 65535, values)
    grey = np.clip((values + 128) // 257, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _shortest_side(image: Image.Image, *, side: int) -> Image.Image:
    width, height = image.size
    longer = int(side * max(width, height) / min(width, height))
    size = (side, longer) if width <= height else (longer, side)
    return image.resize(size, Image.Resampling.BICUBIC)


def _centre(image: Image.Image, *, side: int) -> Image.Image:
    left, top = (round((extent - side) / 2) for extent in image.size)
    return image.crop((left, top, left + side, top + side))
