"""A miniature of benchmarks/coverage: a few hard settings of its grid."""

import pytest

from benchmarks.coverage.grid import Setting
from benchmarks.coverage.measures import measure

WORLDS = 60
# Two and a half standard errors of a coverage of .93.
LEAST = 0.93 - 2.5 * (0.93 * 0.07 / WORLDS) ** 0.5


@pytest.mark.parametrize(
    "setting",
    [
        Setting(design="simple", items=2240, judged=50, unsafe=0.97),
        Setting(design="simple", items=167, judged=150, unsafe=0.1),
        Setting(design="stratified", items=2240, judged=100, unsafe=0.1),
        Setting(design="active", items=2240, judged=100, unsafe=0.5),
        Setting(design="items", items=100, answers=5, judged=50, unsafe=0.2, within=0.4),
        Setting(design="two_hops", items=600, judged=300, human=80, unsafe=0.3),
    ],
    ids=lambda setting: setting.design,
)
def test_intervals_cover_have_width_and_add_up(setting):
    found = measure(setting, count=WORLDS, rivals={})
    assert min(found.finite_coverage, found.super_coverage, found.joint_coverage) >= LEAST
    assert found.narrowest > 0
    assert found.cells_off <= 1e-12
    assert found.refused == 0
