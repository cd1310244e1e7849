"""What rows are sliced by, and what a report needs of their texts for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from nsgauge.data.tables import iter_triples

ROWS_AT_ONCE = 50_000
"""Triples whose texts are in memory together."""

_UNREAD = ("prompt", "response", "image", "caption", "extras")
_REFUSAL = (
    r"^\W*(i['\x{2019}]?m (really |very |so )?sorry|i am (really |very |so )?sorry|sorry\b"
    r"|i apologi[sz]e|my apologies|i can['\x{2019}]?t\b|i cannot\b|i can not\b"
    r"|i['\x{2019}]?m (not able|unable)|i am (not able|unable)|i won['\x{2019}]?t\b|i will not\b"
    r"|i must decline|as an ai\b|unfortunately,? i (can|am|will)|no, i (can['\x{2019}]?t|cannot))"
)
_LENGTHS = (200, 800, 2_000)
_LENGTH_NAMES = ("up to 200", "201 to 800", "801 to 2,000", "over 2,000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """One way to slice the rows.

    Attributes:
        name: `vllm`, `benchmark`, `response_characters`, `opens_with_refusal`, `language` or
            `image_state`.
        values: The slices' names.
        codes: Per row, the position in `values`; -1 where the trait is unknown.
    """

    name: str
    values: tuple[str, ...]
    codes: Int[np.ndarray, " rows"]


def lean_triples(triples: pa.Table) -> pa.Table:
    """Triples without texts and pictures, with what is counted in the former; lean ones stay.

    Args:
        triples: TRIPLES_SCHEMA, or what this function made of it.

    Returns:
        With `response_characters`, and `opens_with_refusal` by English phrases, in the texts'
        place.
    """
    if "response" not in triples.column_names:
        return triples
    response = triples["response"]
    lean = triples.drop_columns(list(_UNREAD))
    characters = pc.utf8_length(response)
    refusal = pc.match_substring_regex(response, _REFUSAL, ignore_case=True)
    lean = lean.append_column(pa.field("response_characters", pa.int32()), characters)
    return lean.append_column(pa.field("opens_with_refusal", pa.bool_()), refusal)


def lean_folder(data: Path) -> pa.Table:
    """The triples of a data folder without their texts, which needn't all fit in memory.

    Raises:
        DataError: as `iter_triples`.
    """
    return pa.concat_tables(lean_triples(part) for part in iter_triples(data, rows=ROWS_AT_ONCE))


def traits_of(triples: pa.Table, *, image_states: pa.ChunkedArray | None) -> tuple[Trait, ...]:
    """All traits that are known of at least one row.

    Args:
        triples: As `lean_triples` gives them.
        image_states: What stood in the image slot of each, null where unknown; None likewise.
    """
    length = np.digitize(triples["response_characters"].to_numpy(), _LENGTHS, right=True)
    refusal = triples["opens_with_refusal"].to_numpy().astype(np.int64)
    named = {"vllm": triples["vllm"], "benchmark": triples["benchmark"]}
    named |= {"language": triples["language"]}
    named |= {} if image_states is None else {"image_state": image_states}
    traits = [_named(name, column) for name, column in named.items()]
    lengths = Trait(name="response_characters", values=_LENGTH_NAMES, codes=length)
    refusals = Trait(name="opens_with_refusal", values=("no", "yes"), codes=refusal)
    ordered = [*traits[:2], lengths, refusals, *traits[2:]]
    return tuple(trait for trait in ordered if trait.values)


def codes_of(
    column: pa.Array | pa.ChunkedArray,
) -> tuple[Int[np.ndarray, " rows"], tuple[str, ...]]:
    """Dictionary codes and their names, in order of first appearance; -1 for null."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = pc.dictionary_encode(whole)
    codes = pc.fill_null(encoded.indices, -1)
    return np.asarray(codes).astype(np.int64), tuple(encoded.dictionary.to_pylist())


def _named(name: str, column: pa.Array | pa.ChunkedArray) -> Trait:
    codes, values = codes_of(column)
    return Trait(name=name, values=values, codes=codes)
