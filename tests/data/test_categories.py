"""Judges' own classes as targets, against shares counted by hand."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.categories import categories_of
from nsgauge.errors import DataError
from nsgauge.protocol import CELLS, Cell, Grounding, Safety, axes_of
from nsgauge.records import VERDICTS_SCHEMA, Verdict, VerdictState

SAFE, HARM = Cell.GROUNDED_SAFE, Cell.GROUNDED_UNSAFE
LUCK, MISREAD = Cell.UNGROUNDED_SAFE, Cell.UNGROUNDED_UNSAFE
CELL_OF = {"refuses": SAFE, "warns": SAFE, "assists": HARM, "misses": MISREAD}


def voted(triple_id, judge, category, *, cell):
    safety, grounding = axes_of(cell)
    return Verdict(
        triple_id=triple_id, judge=judge, safety=safety, grounding=grounding, category=category
    )


def table(verdicts):
    columns = {name: [getattr(row, name) for row in verdicts] for name in VERDICTS_SCHEMA.names}
    return pa.table(columns, schema=VERDICTS_SCHEMA)


def named(triple_id, judge, category):
    return voted(triple_id, judge, category, cell=CELL_OF[category])


def test_shares_of_several_judges_by_hand():
    votes = [
        named("t1", "a", "refuses"),
        named("t1", "b", "warns"),
        named("t1", "c", "warns"),
        named("t2", "a", "assists"),
        named("t2", "b", "misses"),
        # Not asked for: another judge, and a triple that isn't wanted.
        named("t2", "d", "warns"),
        named("t9", "a", "refuses"),
    ]
    found = categories_of(table(votes), judges=["a", "b", "c"], triple_ids=["t2", "t3", "t1"])
    # No category lies in ungrounded_safe, so the cell is a class itself.
    assert found.names == ("assists", "misses", "refuses", "ungrounded_safe", "warns")
    assert found.cells == (HARM, MISREAD, SAFE, LUCK, SAFE)
    wanted = np.array([[3, 3, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 2, 0, 4]]) / 6
    np.testing.assert_allclose(found.shares, wanted)


def test_votes_without_a_category_count_as_much_as_those_with_one():
    def plain(triple_id, judge, safety, grounding=None):
        return Verdict(triple_id=triple_id, judge=judge, safety=safety, grounding=grounding)

    votes = [
        named("t1", "a", "refuses"),
        *(plain("t1", judge, Safety.UNSAFE, Grounding.GROUNDED) for judge in "bc"),
        named("t2", "a", "warns"),
        *(plain("t2", judge, Safety.UNSAFE) for judge in "bc"),
        named("t3", "a", "assists"),
        plain("t3", "b", Safety.UNSAFE),
        plain("t3", "c", Safety.SAFE),
        named("t4", "a", "misses"),
        *(plain("t5", judge, Safety.UNSAFE) for judge in "abc"),
    ]
    ids = ["t1", "t2", "t3", "t4", "t5"]
    found = categories_of(table(votes), judges=["a", "b", "c"], triple_ids=ids)
    assert found.names == ("assists", "misses", "refuses", "ungrounded_safe", "warns")
    wanted = [
        [2, 0, 1, 0, 0],
        [1, 1, 0, 0, 1],
        [2, 0, 1 / 3, 1 / 3, 1 / 3],
        [0, 3, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(found.shares, np.array(wanted) / 3, atol=1e-6)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["t1", "t2", "t3"]), st.sampled_from("abc"), st.sampled_from([*CELL_OF])
        ),
        min_size=1,
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_a_tables_order_changes_nothing_and_every_cell_has_a_class(votes, order):
    rows = [named(*vote) for vote in votes]
    asked = ["t1", "t2", "t3"]
    found = categories_of(table(rows), judges=["a", "b", "c"], triple_ids=asked)
    order.shuffle(rows)
    again = categories_of(table(rows), judges=["a", "b", "c"], triple_ids=asked)
    assert (found.names, found.cells) == (again.names, again.cells)
    np.testing.assert_array_equal(found.shares, again.shares)
    assert set(found.cells) == set(CELLS)
    assert list(found.names) == sorted(found.names)
    for triple_id, shares in zip(asked, found.shares, strict=True):
        own = [category for triple, _, category in votes if triple == triple_id]
        wanted = [own.count(name) / max(len(own), 1) for name in found.names]
        np.testing.assert_allclose(shares, wanted)


def test_votes_that_werent_answered_dont_count_and_those_of_one_axis_name_no_category():
    safety, grounding = axes_of(HARM)
    votes = [
        named("t1", "a", "refuses"),
        Verdict(triple_id="t1", judge="b", state=VerdictState.REFUSED, category="assists"),
        Verdict(triple_id="t1", judge="c", safety=safety, category="assists"),
        Verdict(triple_id="t2", judge="a", grounding=grounding, category="assists"),
        voted("t3", "a", "", cell=SAFE),
        voted("t3", "b", None, cell=SAFE),
    ]
    found = categories_of(table(votes), judges=["a", "b", "c"], triple_ids=["t1", "t2", "t3"])
    assert set(found.names) == {"refuses", str(HARM), str(LUCK), str(MISREAD)}
    assert found.shares[:, found.names.index("refuses")].tolist() == [0.5, 0, 0]
    assert found.shares.sum() == pytest.approx(1)


def test_a_category_in_two_cells_is_refused():
    votes = [named("t1", "a", "warns"), voted("t2", "b", "warns", cell=HARM)]
    with pytest.raises(DataError, match="'warns' lies in grounded_safe and in grounded_unsafe"):
        categories_of(table(votes), judges=["a", "b"], triple_ids=["t1"])
    # Of judges that aren't asked for it doesn't matter.
    assert "warns" in categories_of(table(votes), judges=["a"], triple_ids=["t1"]).names


@pytest.mark.parametrize("judge", ["a", "b"])
def test_judges_without_categories_are_refused(judge):
    votes = [voted("t1", "a", None, cell=SAFE), named("t1", "c", "warns")]
    with pytest.raises(DataError, match=f"no verdict of {judge} names a category"):
        categories_of(table(votes), judges=[judge], triple_ids=["t1"])


def test_a_category_with_another_cells_name_is_refused():
    votes = [voted("t1", "a", "grounded_unsafe", cell=SAFE)]
    with pytest.raises(DataError, match="'grounded_unsafe' lies in grounded_safe, another cell"):
        categories_of(table(votes), judges=["a"], triple_ids=["t1"])


def test_a_vote_for_a_cell_without_categories_counts_beside_named_ones():
    votes = [named("t1", "a", "refuses"), voted("t1", "b", None, cell=LUCK)]
    found = categories_of(table(votes), judges=["a", "b"], triple_ids=["t1"])
    shares = dict(zip(found.names, found.shares[0].tolist(), strict=True))
    assert (shares["refuses"], shares["ungrounded_safe"]) == (0.5, 0.5)
