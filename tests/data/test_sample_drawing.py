from random import Random

import numpy as np
import pytest

from nsgauge.data.sample.drawing import SIDE_PX, draw_picture
from nsgauge.data.sample.kinds import KINDS, Variant
from nsgauge.data.sample.shapes import SHAPES


def _picture(kind, variant, seed):
    return draw_picture(kind, variant=variant, rng=Random(f"{seed}"))


def test_every_kind_has_a_shape():
    assert set(SHAPES) == {kind.name for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_mark_covers_a_good_share_of_the_thing(kind):
    # One seed draws the same ground for both, so what differs is mostly the thing and its mark.
    shares = []
    for seed in range(3):
        harmful, benign = (
            np.asarray(_picture(kind, variant, seed), dtype=np.int16) for variant in Variant
        )
        assert harmful.shape == (SIDE_PX, SIDE_PX, 3)
        shares.append(float((np.abs(harmful - benign).max(axis=2) > 60).mean()))
    assert min(shares) > 0.03, shares


def test_pictures_of_one_variant_differ_and_a_seed_repeats_itself():
    kind = KINDS[0]
    first, second = (_picture(kind, Variant.HARMFUL, seed).tobytes() for seed in (1, 2))
    assert first != second
    assert first == _picture(kind, Variant.HARMFUL, 1).tobytes()


def test_colour_of_the_ground_does_not_tell_the_variant():
    kind = KINDS[0]
    corners = {
        variant: np.mean(
            [np.asarray(_picture(kind, variant, f"{variant}{seed}"))[0, 0] for seed in range(40)],
            axis=0,
        )
        for variant in Variant
    }
    # Channel values of the ground spread by about 25, so 40 pictures' means by about 6.
    assert np.abs(corners[Variant.HARMFUL] - corners[Variant.BENIGN]).max() < 25
