import pytest
from pydantic import Field, model_validator

from nsgauge.errors import SettingsError
from nsgauge.settings import Settings, Shelf


class Cup(Settings):
    size: int = Field(ge=1)
    colour: str = "white"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A shelf with `small` and `large` in a package made for the test."""
    folder = tmp_path / "shelved_settings" / "cups"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for name, size in (("small", 1), ("large", 9)):
        (folder / f"{name}.yaml").write_text(f"# A cup.\nsize: {size}\n")
    (folder / "README.md").write_text("Not a cup.")
    monkeypatch.syspath_prepend(tmp_path)
    return Shelf("cup", package="shelved_settings", folder="cups")


def test_a_shelf_names_what_ships_in_order(shelf):
    assert shelf.names() == ["large", "small"]


def test_what_ships_is_loaded_by_its_name(shelf):
    assert shelf.load("large", settings=Cup) == Cup(size=9)


def test_overrides_reach_what_ships(shelf):
    cup = shelf.load("small", settings=Cup, overrides=["size=3", "colour=red"])
    assert cup == Cup(size=3, colour="red")
    assert shelf.load("small", settings=Cup) == Cup(size=1)


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_file_of_ones_own_is_loaded_by_its_path(shelf, tmp_path, suffix):
    path = tmp_path / f"small{suffix}"
    path.write_text("size: 5\n")
    assert shelf.load(str(path), settings=Cup, overrides=["colour=red"]) == Cup(
        size=5, colour="red"
    )


def test_a_name_means_what_ships_whatever_lies_in_the_folder(shelf, tmp_path, monkeypatch):
    (tmp_path / "small").write_text("size: 5\n")
    monkeypatch.chdir(tmp_path)
    assert shelf.load("small", settings=Cup).size == 1


@pytest.mark.parametrize("name", ["medium", "", "../cups/small", "README", "README.md", "Small"])
def test_an_unknown_name_is_answered_with_the_known_ones(shelf, name):
    with pytest.raises(SettingsError, match=r"cup .*none ships; known: large, small"):
        shelf.load(name, settings=Cup)


def test_a_path_that_leads_nowhere_is_named(shelf):
    with pytest.raises(SettingsError, match=r"cup .nowhere\.yaml.: no such file"):
        shelf.load("nowhere.yaml", settings=Cup)


@pytest.mark.parametrize(
    ("override", "named"),
    [("size=0", "size"), ("sise=2", "known here: colour, size"), ("size", "section.key=value")],
)
def test_a_wrong_override_of_what_ships_is_named(shelf, override, named):
    with pytest.raises(SettingsError, match=named):
        shelf.load("small", settings=Cup, overrides=[override])


class Saucer(Settings):
    size: int = 1

    @model_validator(mode="after")
    def _fits(self) -> "Saucer":
        if self.size > 1:
            raise ValueError("of one size")
        return self


class Tray(Settings):
    name: str = "tray"
    cups: tuple[str, ...] = ()
    cup: Cup = Cup(size=1)
    saucer: Saucer = Saucer()

    @model_validator(mode="after")
    def _no_red_on_a_tray(self) -> "Tray":
        if "red" in self.cups:
            raise ValueError("red cups fade")
        return self


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("cups=red", "tray.yaml, cups=red: cups: wanted a list, as in [a, b], got 'red'"),
        ("cups=[red]", "tray.yaml: red cups fade"),
        ("saucer.size=2", "tray.yaml, saucer.size=2: saucer: of one size"),
        ("cup.size=0", "tray.yaml, cup.size=0: cup.size: Input should be greater"),
        ("cup={size: 0}", "tray.yaml, cup={size: 0}: cup.size: Input should be greater"),
    ],
)
def test_a_fault_is_laid_to_the_override_that_made_it(tmp_path, override, said):
    path = tmp_path / "tray.yaml"
    path.write_text("cups: [white]\n")
    with pytest.raises(SettingsError) as caught:
        Tray.from_yaml(path, overrides=["name=tea", override])
    assert said in str(caught.value)
    assert "tea" not in str(caught.value)


def test_what_ships_is_told_of_by_its_first_line(shelf):
    assert shelf.summaries() == {"large": "A cup.", "small": "A cup."}
