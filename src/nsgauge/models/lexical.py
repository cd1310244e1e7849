"""The lexical channel: what the words of a response alone say, from the ids its windows hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Int, UInt64
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from nsgauge.models.row_windows import RowText, RowWindows, TextRole
from nsgauge.models.stretches import gathered
from nsgauge.settings import Settings

# Any odd 64-bit number would do; this one is 2^64 over the golden ratio.
_STEP = 0x9E3779B97F4A7C15
# A row's number within its block and a key share 63 bits: 2^9 rows are counted at once.
_KEY_BITS = 54
_BLOCK_ROWS = 2 ** (63 - _KEY_BITS)
# Past every key: fills up a channel that knows fewer n-grams than it has room for.
NO_KEY = 2**_KEY_BITS

_Numbers = Int[np.ndarray, " ..."]


class LexicalSettings(Settings):
    """How responses are counted, fitted and weighed.

    `grams` is how many n-grams are known at most, those in most rows first; `longest` is the most
    tokens in an n-gram; `c` is the inverse of the regularisation's strength; `share` is the weight
    of the channel's logits, the network's own having the rest.
    """

    grams: int = Field(2**15, ge=1, le=2**24)
    longest: int = Field(2, ge=1, le=5)
    c: float = Field(10.0, gt=0, allow_inf_nan=False)
    share: float = Field(0.5, gt=0, lt=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grams:
    """The n-grams of some rows' responses, counted: a sparse matrix, row after row.

    Attributes:
        offsets: Where each row's grams begin, and where the last row's end.
        keys: What each gram is known by, in [0, 2^54), ascending within a row.
        counts: How often the row has it, at least 1.
    """

    offsets: Int[Tensor, " bounds"]
    keys: Int[Tensor, " grams"]
    counts: Int[Tensor, " grams"]

    def to(self, device: torch.device) -> "Grams":
        """The same grams on another device."""
        return Grams(
            offsets=self.offsets.to(device),
            keys=self.keys.to(device),
            counts=self.counts.to(device),
        )


def response_grams(texts: Sequence[RowText], *, settings: LexicalSettings) -> Grams:
    """Count the n-grams of token ids of each row's response.

    Control tokens, padding and the prompt are left out; an n-gram never crosses a window's edge.
    A row's stretches are counted together.

    Args:
        texts: One per row.
        settings: How long an n-gram may be.
    """
    stretches = [stretch for text in texts for stretch in text.response_ids]
    lengths = np.fromiter(map(len, stretches), dtype=np.int64, count=len(stretches))
    each = [len(text.response_ids) for text in texts]
    return _grams(
        _Stretches(
            ids=np.fromiter(chain.from_iterable(stretches), np.int64, count=int(lengths.sum())),
            lengths=lengths,
            rows=np.repeat(np.arange(len(texts)), each),
        ),
        rows=len(texts),
        settings=settings,
    )


def column_grams(
    texts: RowWindows, *, chosen: Int[np.ndarray, " chosen"], settings: LexicalSettings
) -> Grams:
    """As `response_grams`, of some rows whose windows are columns.

    Args:
        texts: Of these and other rows.
        chosen: Row numbers, in any order.
        settings: How long an n-gram may be.
    """
    each = np.diff(texts.bounds)[chosen]
    windows = gathered(np.arange(len(texts.roles)), starts=texts.bounds[:-1][chosen], lengths=each)
    reads = np.isin(texts.roles[windows], (TextRole.RESPONSE, TextRole.JOINT))
    windows, rows = windows[reads], np.repeat(np.arange(len(chosen)), each)[reads]
    begin, end = texts.response[windows].T
    return _grams(
        _Stretches(
            ids=gathered(
                texts.windows.ids, starts=texts.windows.bounds[windows] + begin, lengths=end - begin
            ),
            lengths=end - begin,
            rows=rows,
        ),
        rows=len(chosen),
        settings=settings,
    )


def tfidf(grams: Grams, *, idf: Float[Tensor, " grams"]) -> Float[Tensor, " grams"]:
    """Weights of each row's grams: (1 + log count) idf, scaled to length one.

    A row without a gram that has an idf keeps zeros.

    Args:
        grams: Of the rows.
        idf: Inverse document frequency of each of them; 0 for those that don't count.
    """
    weights = (1 + grams.counts.to(idf.dtype).log()) * idf
    squares = torch.segment_reduce(weights**2, "sum", offsets=grams.offsets, initial=0)
    norms = squares.sqrt().clamp(min=torch.finfo(idf.dtype).tiny)
    return weights / norms.repeat_interleave(grams.offsets.diff(), output_size=len(weights))


class LexicalChannel(nn.Module):
    """Multinomial logistic regression on the TF-IDF of a response's token ids.

    All it knows is in buffers: it is fitted as a whole (nsgauge.train.lexical), never by gradient
    steps beside the network. A new one knows no n-gram and gives zeros.

    N-grams are looked up by their keys. Hashed into buckets they would share weights: of 63,000 in
    MSTS 36,000 are in one response only and ignored, but in 2^16 buckets they hide others, which
    costs .016 of AUPRC.

    Args:
        settings: That its grams are counted with.
        classes: How many classes it tells apart.
    """

    keys: Tensor
    idf: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, settings: LexicalSettings, *, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("keys", torch.full((settings.grams,), NO_KEY))
        self.register_buffer("idf", torch.zeros(settings.grams))
        self.register_buffer("weight", torch.zeros(settings.grams, classes))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, grams: Grams) -> Float[Tensor, "rows classes"]:
        """Log-probabilities up to a constant per row; of an empty response, the bias."""
        places = torch.searchsorted(self.keys, grams.keys).clamp(max=len(self.keys) - 1)
        idf = self.idf[places] * (self.keys[places] == grams.keys)
        sums = embedding_bag(
            places,
            self.weight,
            grams.offsets,
            mode="sum",
            per_sample_weights=tfidf(grams, idf=idf),
            include_last_offset=True,
        )
        return sums + self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretches:
    """Stretches of responses, end to end.

    Attributes:
        ids: Their tokens.
        lengths: Of each stretch.
        rows: Which row each is of, ascending.
    """

    ids: _Numbers
    lengths: _Numbers
    rows: _Numbers

    def of_rows(self, first: int, last: int) -> "_Stretches":
        """Those of the rows from one number up to another, the rows numbered from zero."""
        begin, end = np.searchsorted(self.rows, (first, last))
        start, stop = self.lengths[:begin].sum(), self.lengths[:end].sum()
        return _Stretches(
            ids=self.ids[start:stop],
            lengths=self.lengths[begin:end],
            rows=self.rows[begin:end] - first,
        )


def _grams(stretches: _Stretches, *, rows: int, settings: LexicalSettings) -> Grams:
    """Block after block, so that a row's number and a key share 63 bits."""
    blocks = []
    for first in range(0, max(rows, 1), _BLOCK_ROWS):
        last = min(rows, first + _BLOCK_ROWS)
        own = stretches.of_rows(first, last)
        blocks.append(_counted(own, rows=last - first, settings=settings))
    lengths, keys, counts = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Grams(
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])),
        keys=torch.from_numpy(keys),
        counts=torch.from_numpy(counts),
    )


def _counted(
    stretches: _Stretches, *, rows: int, settings: LexicalSettings
) -> tuple[_Numbers, _Numbers, _Numbers]:
    """How many grams each row has; their keys, row after row; and how often it has each."""
    lengths, ids = stretches.lengths, stretches.ids.astype(np.uint64)
    stretch_of = np.repeat(np.arange(len(lengths)), lengths)
    row_of = np.repeat(stretches.rows.astype(np.uint64), lengths)
    states, found = np.zeros_like(ids), [np.zeros(0, dtype=np.uint64)]
    for length in range(1, min(settings.longest, len(ids)) + 1):
        starts = len(ids) - length + 1
        # Unsigned, so it wraps around; the 1 keeps id 0 before another from being no token at all.
        states = states[:starts] * _STEP + ids[length - 1 :] + 1
        whole = stretch_of[:starts] == stretch_of[length - 1 :]
        keys = _mixed(states[whole]) >> (64 - _KEY_BITS)
        found.append(row_of[:starts][whole] << _KEY_BITS | keys)
    cells, counts = np.unique(np.concatenate(found).view(np.int64), return_counts=True)
    grams_of = np.bincount(cells >> _KEY_BITS, minlength=rows)
    return grams_of, cells & (NO_KEY - 1), counts


def _mixed(states: UInt64[np.ndarray, " grams"]) -> UInt64[np.ndarray, " grams"]:
    """States spread evenly over 64 bits, one to one; products wrap around.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
    number generators", with Stafford's variant 13 of the constants).
    """
    states = (states ^ (states >> 30)) * 0xBF58476D1CE4E5B9
    states = (states ^ (states >> 27)) * 0x94D049BB133111EB
    return states ^ (states >> 31)
