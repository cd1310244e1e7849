"""What frozen text towers read, on disk: the next training on the same texts skips them."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nsgauge.data.folders import new_file
from nsgauge.models.inputs import EncodedTokens
from nsgauge.models.language import exchange_width
from nsgauge.models.prediction import encode_exchanges, encode_tokens
from nsgauge.models.row_windows import RowWindows
from nsgauge.models.towers.packing import Window
from nsgauge.models.towers.pair import weights_fingerprint
from nsgauge.models.towers.text import TextTower

_NAME = "tokens"
_EXCHANGES = "exchanges"


def cached_tokens(
    tower: TextTower, *, windows: Sequence[Window], cache: Path, tokens_per_batch: int
) -> EncodedTokens:
    """Tokens of distinct windows, from the cache or encoded and put there.

    A file holds one set of windows as one tower reads them, and is named by both; one that can't be
    read, or has another size, is made again.

    Args:
        tower: As it is now; other weights are another file.
        windows: Distinct, in any order.
        cache: The folder; made where there is none.
        tokens_per_batch: Packed tokens in one forward.
    """
    ordered = sorted(windows, key=lambda window: (window.ids, window.segments))
    path = cache / f"{_NAME}-{_key(tower, windows=ordered)}.safetensors"
    found = _read(path, windows=ordered, width=tower.token_width)
    if found is None:
        found = encode_tokens(tower, windows=ordered, tokens_per_batch=tokens_per_batch)
        cache.mkdir(parents=True, exist_ok=True)
        with new_file(path, overwrite=True) as part:
            save_file({_NAME: found.vectors}, part)
    return found


def cached_exchanges(
    tower: TextTower, *, rows: RowWindows, cache: Path | None, tokens_per_batch: int
) -> Float[Tensor, "rows width"]:
    """What a language model makes of rows, from the cache or encoded and put there.

    Arguments as `cached_tokens`; without a cache they are encoded.
    """
    if cache is None:
        return encode_exchanges(tower, rows=rows, tokens_per_batch=tokens_per_batch)
    digest = sha256(weights_fingerprint(tower).encode())
    digest.update(rows.bounds.tobytes())
    for key in rows.windows.keys():  # noqa: SIM118 (no mapping)
        digest.update(sha256(key).digest())
    path = cache / f"{_EXCHANGES}-{digest.hexdigest()[:32]}.safetensors"
    try:
        found = load_file(path)[_EXCHANGES]
    except (SafetensorError, OSError, KeyError):
        found = None
    if found is None or found.shape != (len(rows), exchange_width(tower)):
        found = encode_exchanges(tower, rows=rows, tokens_per_batch=tokens_per_batch)
        cache.mkdir(parents=True, exist_ok=True)
        with new_file(path, overwrite=True) as part:
            save_file({_EXCHANGES: found}, part)
    return found


def _key(tower: TextTower, *, windows: Sequence[Window]) -> str:
    digest = sha256(weights_fingerprint(tower).encode())
    for window in windows:
        digest.update(np.array([len(window.ids), *window.ids, *window.segments], "<i8").tobytes())
    return digest.hexdigest()[:32]


def _read(path: Path, *, windows: Sequence[Window], width: int) -> EncodedTokens | None:
    lengths = np.array([len(window.ids) for window in windows])
    try:
        vectors = load_file(path)[_NAME]
    except (SafetensorError, OSError, KeyError):
        return None
    if vectors.shape != (int(lengths.sum()), width):
        return None
    starts = np.cumsum(lengths) - lengths
    return EncodedTokens(
        start={window: int(start) for window, start in zip(windows, starts, strict=True)},
        vectors=vectors,
    )
