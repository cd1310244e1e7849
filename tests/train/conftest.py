"""A small sample world, and a recipe that trains on it in seconds."""

import pytest

from nsgauge.data.sample.world import SampleSettings, write_sample
from nsgauge.models.preset import load_preset
from nsgauge.models.towers.pair import load_towers
from nsgauge.train.recipe import Recipe


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "data"
    write_sample(folder, settings=SampleSettings(pictures_per_variant=1))
    return folder


@pytest.fixture(scope="session")
def towers():
    return load_towers(load_preset("pocket"))


@pytest.fixture(scope="session")
def tiny_recipe():
    return Recipe.from_mapping(
        {
            "name": "tiny",
            "teacher": {"judges": ["sample-judge"]},
            "split": {"salt": "a", "validation": 0.2, "calibration": 0.2, "test": 0.2},
            "windows": {"layout": "apart"},
            "fusion": {"width": 32, "layers": 1},
            "lora": {"rank": 2, "alpha": 4},
            "optimisation": {
                "frozen": {"epochs": 3, "patience": 3},
                "adapted": {"epochs": 2, "rows_per_image": 4},
            },
        },
        source="test",
    )
