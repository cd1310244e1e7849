"""What a training is given to learn from, and what it refuses to start with."""

import pytest
from PIL import Image

from nsgauge.data.tables import SourceNote, read_triples, triples_of, write_data
from nsgauge.errors import DataError, SettingsError
from nsgauge.protocol import Grounding, Safety
from nsgauge.records import Triple, Verdict
from nsgauge.train.corpus import load_corpus


def all_well(triples: list[Triple]) -> list[Verdict]:
    """Everybody safe and grounded."""
    return [
        Verdict(
            triple_id=triple.triple_id,
            judge="sample-judge",
            safety=Safety.SAFE,
            grounding=Grounding.GROUNDED,
        )
        for triple in triples
    ]


@pytest.mark.parametrize("captions", [True, "always"])
def test_a_damaged_picture_costs_the_rows_that_look_at_it(towers, tiny_recipe, tmp_path, captions):
    triples = [
        Triple(
            triple_id=f"{item}/{row}",
            item_id=str(item),
            benchmark="b",
            vllm="v",
            prompt="p",
            response=f"r{row}",
            image=f"images/{item}.png",
            caption="a door" if row else None,
        )
        for item in range(40)
        for row in range(2)
    ]
    (tmp_path / "from" / "images").mkdir(parents=True)
    for item in range(40):
        picture = Image.new("RGB", (8, 8), (item, 0, 0))
        picture.save(tmp_path / "from" / "images" / f"{item}.png")
    data = tmp_path / "data"
    source = SourceNote(importer="test", image_root=tmp_path / "from")
    write_data(data, triples=triples, verdicts=all_well(triples), rejects=(), source=source)
    (data / "images" / "7.png").write_bytes(b"no picture")
    recipe = tiny_recipe.model_copy(update={"captions": captions})
    corpus = load_corpus(data, recipe=recipe, towers=towers)
    lost = {triple.triple_id for triple in triples} - {t.triple_id for t in corpus.triples}
    assert lost == ({"7/0"} if captions == "always" else {"7/0", "7/1"})
    assert corpus.left_out == {"image_error": len(lost)}


def test_a_ranking_needs_somebody_to_rank_first(world, towers, tiny_recipe, tmp_path):
    data = tmp_path / "data"
    triples = list(triples_of(read_triples(world)))
    source = SourceNote(importer="test", image_root=world)
    write_data(data, triples=triples, verdicts=all_well(triples), rejects=(), source=source)
    ranking = tiny_recipe.optimisation.model_copy(update={"selection": "ranking"})
    recipe = tiny_recipe.model_copy(update={"optimisation": ranking})
    with pytest.raises(DataError, match="no validation row is unsafe or not grounded"):
        load_corpus(data, recipe=recipe, towers=towers)


def test_windows_that_the_tower_cannot_read_are_named_by_their_setting(world, towers, tiny_recipe):
    windows = tiny_recipe.windows.model_copy(update={"window_tokens": 9999})
    recipe = tiny_recipe.model_copy(update={"windows": windows})
    with pytest.raises(SettingsError, match="windows: window_tokens is 9999, the text tower reads"):
        load_corpus(world, recipe=recipe, towers=towers)
