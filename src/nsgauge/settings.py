"""Settings that people write: frozen, unknown keys refused, read from YAML with overrides."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nsgauge.errors import SettingsError

# Not `Self`: the runtime type checks of the tests can't resolve it here.
OfSettings = TypeVar("OfSettings", bound="Settings")


class Settings(BaseModel):
    """Base of all settings; subclasses are frozen and refuse keys they don't know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_yaml(
        cls: type[OfSettings], path: Path, *, overrides: Sequence[str] = ()
    ) -> OfSettings:
        """Read settings from a YAML file, then apply `section.key=value` overrides.

        Args:
            path: A YAML file with a mapping at the top.
            overrides: Each `dotted.key=value`; the value is read as YAML.

        Raises:
            SettingsError: no such file, not YAML, an unknown key, or a value out of bounds.
        """
        content = read_yaml_mapping(path)
        for override in overrides:
            _apply(content, override=override)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            source = ", ".join([str(path), *_at_fault(error, overrides=overrides)])
            raise SettingsError(f"{source}: {_explain(error, cls)}") from error

    @classmethod
    def from_mapping(cls: type[OfSettings], content: dict[str, Any], *, source: str) -> OfSettings:
        """Validate a mapping, naming `source` and every faulty key in the error.

        Raises:
            SettingsError: an unknown key, a missing key, or a value out of bounds.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise SettingsError(f"{source}: {_explain(error, cls)}") from error


@dataclass(frozen=True, slots=True)
class Shelf:
    """Settings that the package carries, one YAML file a name.

    Attributes:
        noun: What one of them is called in an error.
        package: The package beside whose modules the folder lies.
        folder: Its name.
    """

    noun: str
    package: str
    folder: str

    def names(self) -> list[str]:
        """The names that ship, sorted."""
        return list(self.summaries())

    def summaries(self) -> dict[str, str]:
        """What ships under each name: the first line of its file, a comment."""
        folder = resources.files(self.package) / self.folder
        files = {
            f.name.removesuffix(".yaml"): f for f in folder.iterdir() if f.name.endswith(".yaml")
        }
        return {
            name: files[name].read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            for name in sorted(files)
        }

    def load(
        self, name: str, *, settings: type[OfSettings], overrides: Sequence[str] = ()
    ) -> OfSettings:
        """What ships under a name, or what a YAML file at a path holds.

        Raises:
            SettingsError: neither, or the content or an override isn't valid.
        """
        if name.endswith((".yaml", ".yml")) and Path(name).is_file():
            return settings.from_yaml(Path(name), overrides=overrides)
        if name not in self.names():
            known = ", ".join(self.names())
            raise SettingsError(
                f"{self.noun} {name!r}: no such file, and none ships; known: {known}"
            )
        with resources.as_file(resources.files(self.package) / self.folder) as folder:
            return settings.from_yaml(folder / f"{name}.yaml", overrides=overrides)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping at the top of a YAML file (safe loader).

    Raises:
        SettingsError: no such file, not UTF-8 text, not YAML, or no mapping at the top.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file; give the path of a YAML file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: can't be read as text ({error})") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise SettingsError(f"{path}: expected `key: value` lines, found {found}")
    return content


def _apply(content: dict[str, Any], *, override: str) -> None:
    """Set one `dotted.key=value` in place."""
    dotted, separator, text = override.partition("=")
    if not separator or not dotted.strip():
        raise SettingsError(f"override {override!r}: write it as section.key=value")
    *sections, key = dotted.strip().split(".")
    target = content
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise SettingsError(f"override {override!r}: {section!r} is a value, not a section")
    try:
        target[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"override {override!r}: the value is not valid YAML") from error


def _explain(error: ValidationError, settings: type[Settings]) -> str:
    """All faults in one line, with the keys that would have been accepted."""
    parts = []
    for fault in error.errors():
        where = ".".join(str(step) for step in fault["loc"]) or "(top level)"
        if fault["type"] == "extra_forbidden":
            known = ", ".join(sorted(_fields_at(settings, steps=fault["loc"][:-1])))
            parts.append(f"unknown key {where!r} (known here: {known})")
        elif fault["type"] == "value_error":
            # Our own words, on a whole section: what it holds would only drown them.
            said = str(fault["ctx"]["error"])
            parts.append(f"{where}: {said}" if fault["loc"] else said)
        elif fault["type"] == "tuple_type":
            parts.append(f"{where}: wanted a list, as in [a, b], got {fault['input']!r}"[:300])
        else:
            parts.append(f"{where}: {fault['msg']}, got {fault['input']!r}"[:300])
    return "; ".join(parts)


def _at_fault(error: ValidationError, *, overrides: Sequence[str]) -> list[str]:
    """The overrides of keys that a fault speaks of."""
    faulty = [".".join(str(step) for step in fault["loc"]) for fault in error.errors()]
    keys = {override: override.partition("=")[0].strip() for override in overrides}
    return [
        override
        for override, key in keys.items()
        # A fault of a whole section may be of any key in it.
        if any(
            f"{where}.".startswith(f"{key}.") or (where and f"{key}.".startswith(f"{where}."))
            for where in faulty
        )
    ]


def _fields_at(settings: type[Settings], *, steps: Sequence[str | int]) -> list[str]:
    """Field names of the nested settings that `steps` leads to."""
    current: type[BaseModel] = settings
    for step in steps:
        field = current.model_fields.get(str(step))
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            current = annotation
    return list(current.model_fields)
