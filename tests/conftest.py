"""Shared by the whole suite."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest
import yaml
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_LONGEST = ("test_sample_path.py", "test_sample_shuffled.py", "test_kills.py")
_BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files start first, so that parallel workers end together."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """A script of `benchmarks/` as a module, by name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"{name}_benchmark", _BENCHMARKS / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def annotations_unchecked() -> Callable[[], AbstractContextManager[None]]:
    """For exports: torch traces with symbols where the annotations, checked in tests, say int."""

    @contextmanager
    def unchecked() -> Iterator[None]:
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            yield
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    return unchecked


@pytest.fixture(scope="session")
def language_preset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A preset file whose text tower is a tiny language model, in a package installed for it."""
    load_preset = importlib.import_module("nsgauge.models.preset").load_preset
    # Imported here, for it takes seconds, which most workers can do without.
    llama = importlib.import_module("tests.tiny_llama")
    site = tmp_path_factory.mktemp("site")
    (site / "tiny_lm").mkdir()
    model = site / "tiny_lm" / "model.gguf"
    llama.write_gguf(model, model=llama.tiny_llama())
    (site / "tiny_lm-0.1.dist-info").mkdir()
    record = site / "tiny_lm-0.1.dist-info" / "METADATA"
    record.write_text("Name: tiny-lm\nVersion: 0.1\n", encoding="ascii")
    preset = load_preset("pocket-smollm2").model_dump(mode="json", exclude_none=True)
    preset["weights"]["text"] = {
        "package": "tiny-lm",
        "version": "0.1",
        "gguf": "tiny_lm/model.gguf",
        "sha256": sha256(model.read_bytes()).hexdigest(),
    }
    path = site / "tiny.yaml"
    path.write_text(yaml.safe_dump({**preset, "name": "tiny", "text_layers": 2}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield str(path)
