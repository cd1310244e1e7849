import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from nsgauge.data.split import (
    Side,
    SplitSettings,
    assign_parts,
    assign_sides,
    group_keys,
    item_key,
)
from nsgauge.errors import SettingsError

DEFAULT = SplitSettings()
ITEMS = st.sampled_from([f"b/{n}" for n in range(12)])
IMAGES = st.none() | st.sampled_from([f"f{n}" for n in range(8)])
ROWS = st.lists(st.tuples(ITEMS, IMAGES), max_size=40)


def keys_of(rows):
    return group_keys([item for item, _ in rows], image_digests=[image for _, image in rows])


@given(rows=ROWS)
def test_groups_are_the_connected_parts_of_items_and_images(rows):
    links = [(f"item:{item}", f"image:{image}") for item, image in rows if image is not None]
    names = sorted({f"item:{item}" for item, _ in rows}.union(*links))
    near = np.eye(len(names))
    for item, image in links:
        near[names.index(item), names.index(image)] = 1
    parts = connected_components(near, directed=False)[1].tolist() if names else []
    # The names are sorted, so the first of a part is its smallest.
    smallest = {name: names[parts.index(part)] for name, part in zip(names, parts, strict=True)}
    assert keys_of(rows) == [smallest[f"item:{item}"] for item, _ in rows]


@given(rows=ROWS, order=st.randoms(use_true_random=False))
def test_row_order_changes_nothing(rows, order):
    numbers = list(range(len(rows)))
    order.shuffle(numbers)
    shuffled = keys_of([rows[number] for number in numbers])
    whole = keys_of(rows)
    assert shuffled == [whole[number] for number in numbers]


@given(rows=ROWS, salt=st.text(max_size=5))
def test_one_item_or_image_is_on_one_side(rows, salt):
    sides = assign_sides(keys_of(rows), settings=SplitSettings(salt=salt))
    sides_of = defaultdict(set)
    for (item, image), side in zip(rows, sides, strict=True):
        sides_of["item", item].add(side)
        if image is not None:
            sides_of["image", image].add(side)
    assert all(len(found) == 1 for found in sides_of.values())


@given(rows=ROWS, further=st.lists(st.integers(100, 999), max_size=10))
def test_new_items_never_move_an_old_one(rows, further):
    new = [(f"a/{number}", f"0{number}") for number in further]
    before = assign_sides(keys_of(rows), settings=DEFAULT)
    after = assign_sides(keys_of(rows + new), settings=DEFAULT)
    assert after[: len(rows)] == before


@given(rows=ROWS)
def test_a_new_item_with_a_known_image_joins_it_without_moving_it(rows):
    pictured = [(item, f"f-{item}") for item, _ in rows]
    newcomers = [(f"a/{number}", image) for number, (_, image) in enumerate(pictured)]
    both = keys_of(pictured + newcomers)
    assert both[: len(rows)] == keys_of(pictured) == both[len(rows) :]


def test_sides_come_in_the_shares_asked_for():
    settings = SplitSettings(validation=0.1, calibration=0.2, test=0.3)
    sides = assign_sides([f"item:{n}" for n in range(20_000)], settings=settings)
    counts = Counter(sides)
    wanted = {Side.VALIDATION: 0.1, Side.CALIBRATION: 0.2, Side.TEST: 0.3, Side.TRAIN: 0.4}
    # 4.4 standard deviations of a share from 20,000 draws.
    assert {side: counts[side] / 20_000 for side in Side} == pytest.approx(wanted, abs=0.0155)


def test_a_side_is_the_hash_of_salt_and_key():
    settings = SplitSettings(salt="s")
    for key in ("item:b/1", "image:ff", "item:x"):
        draw = int(hashlib.sha256(f"s:{key}".encode()).hexdigest()[:16], 16) / 2**64
        bounds = {Side.TEST: 0.2, Side.CALIBRATION: 0.3, Side.VALIDATION: 0.4, Side.TRAIN: 1.0}
        wanted = next(side for side, bound in bounds.items() if draw < bound)
        assert assign_sides([key], settings=settings) == [wanted]


def test_the_test_side_stays_when_the_other_shares_change():
    keys = [f"item:{n}" for n in range(500)]
    few = assign_sides(keys, settings=SplitSettings(validation=0.1, calibration=0.1))
    many = assign_sides(keys, settings=SplitSettings(validation=0.3, calibration=0.3))
    assert [side is Side.TEST for side in few] == [side is Side.TEST for side in many]


def test_another_salt_is_another_split():
    keys = [f"item:{n}" for n in range(200)]
    assert assign_sides(keys, settings=DEFAULT) != assign_sides(
        keys, settings=SplitSettings(salt="other")
    )


@given(left=st.tuples(st.text(), st.text()), right=st.tuples(st.text(), st.text()))
def test_item_keys_of_different_items_differ(left, right):
    assert (item_key(*left) == item_key(*right)) == (left == right)


@pytest.mark.parametrize("shares", [{"test": 0.8, "validation": 0.1, "calibration": 0.1}])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares):
    with pytest.raises(SettingsError, match="below 1"):
        SplitSettings.from_mapping(shares, source="recipe")


def test_a_row_needs_an_item_and_an_image_slot():
    with pytest.raises(ValueError, match="one of each a row"):
        group_keys(["a"], image_digests=[])


def test_five_folds_test_every_group_once():
    keys = [f"item:{n}" for n in range(400)]
    folds = [assign_sides(keys, settings=SplitSettings(fold=fold)) for fold in range(5)]
    assert folds[0] == assign_sides(keys, settings=DEFAULT)
    for sides in zip(*folds, strict=True):
        assert sides.count(Side.TEST) == 1
    assert all(60 <= fold.count(Side.TEST) <= 100 for fold in folds)


def test_a_fold_past_the_last_is_refused():
    with pytest.raises(SettingsError, match="there are 5 folds"):
        SplitSettings.from_mapping({"fold": 5}, source="recipe")


def test_an_unseen_vllm_is_on_the_test_side_whatever_its_item():
    keys, vllms = [f"item:{n // 2}" for n in range(40)], ["old", "new"] * 20
    plain = assign_sides(keys, settings=DEFAULT)
    settings = SplitSettings(unseen_vllms=("new",))
    sides = assign_sides(keys, settings=settings, vllms=vllms)
    assert sides[1::2] == [Side.TEST] * 20
    assert sides[0::2] == plain[0::2]
    assert assign_sides(keys, settings=settings) == plain


def test_a_part_is_the_hash_of_salt_and_key():
    for key in ("item:b/1", "image:ff", "item:x"):
        draw = int(hashlib.sha256(f"s:part:{key}".encode()).hexdigest()[:16], 16) / 2**64
        wanted = next(part for part in range(5) if draw < (part + 1) / 5)
        assert assign_parts([key], settings=SplitSettings(salt="s"), parts=5) == [wanted]


@given(rows=ROWS, parts=st.integers(1, 6), order=st.randoms(use_true_random=False))
def test_a_group_is_in_one_part_in_any_order_and_company(rows, parts, order):
    keys = keys_of(rows)
    whole = assign_parts(keys, settings=DEFAULT, parts=parts)
    part_of = dict(zip(keys, whole, strict=True))
    assert whole == [part_of[key] for key in keys]
    assert set(whole) <= set(range(parts))
    numbers = list(range(len(keys)))
    order.shuffle(numbers)
    some = [keys[number] for number in numbers[: len(numbers) // 2]]
    assert assign_parts(some, settings=DEFAULT, parts=parts) == [part_of[key] for key in some]


def test_parts_are_of_like_size_on_every_side():
    keys = [f"item:{n}" for n in range(10_000)]
    parts = assign_parts(keys, settings=DEFAULT, parts=5)
    sides = assign_sides(keys, settings=DEFAULT)
    for side in Side:
        here = [part for part, own in zip(parts, sides, strict=True) if own is side]
        shares = [here.count(part) / len(here) for part in range(5)]
        # 4.4 standard deviations of a share, from 1,000 draws or so.
        assert shares == pytest.approx([0.2] * 5, abs=4.4 * (0.16 / len(here)) ** 0.5)


def test_another_salt_is_another_cut_and_one_part_is_all():
    keys = [f"item:{n}" for n in range(200)]
    here = assign_parts(keys, settings=DEFAULT, parts=3)
    assert here != assign_parts(keys, settings=SplitSettings(salt="other"), parts=3)
    assert here == assign_parts(keys, settings=SplitSettings(test=0.4, fold=1), parts=3)
    assert set(assign_parts(keys, settings=DEFAULT, parts=1)) == {0}
