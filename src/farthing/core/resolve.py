"""Settings resolved once: defaults, then file, then environment, then flags.

In: the raw mappings of each origin. Out: frozen settings objects and, for the start-up log, where each value came
from. An unknown key in the file or an unknown FARTHING_* variable is an error that names the nearest known one.
Reading the environment or a file is left to the one caller, the command line.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from farthing.core.errors import SettingsError
from farthing.core.settings import GROUPS, Checked, base_type, is_of_type

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENV_PREFIX = "FARTHING_"
# Variables of that prefix that are read elsewhere: the config file's place, and the tests' model folders.
RESERVED_ENV = frozenset({"CONFIG", "QWEN3_DIR", "TEST_MODELS"})

Group = TypeVar("Group", bound=Checked)


@dataclass(frozen=True)
class Resolved:
    """Settings groups by type, and the origin ("default", "file", "environment", "flag") of each key."""

    groups: Mapping[type[Checked], Checked]
    origins: Mapping[str, str]

    def group(self, kind: type[Group]) -> Group:
        value = self.groups[kind]
        assert isinstance(value, kind)
        return value

    def lines(self) -> list[str]:
        """One `name = value (origin)` line a setting, for the start-up log."""
        return [
            f"{item.name} = {shown(item, getattr(group, item.name))} ({self.origins[item.name]})"
            for group in self.groups.values()
            for item in fields(group)  # type: ignore[arg-type]
        ]


def resolve(
    kinds: Sequence[type[Checked]],
    *,
    file: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Resolved:
    """Merge the origins, later ones over earlier ones.

    `env` holds whole environment variables; of these only FARTHING_* count. `flags` holds only what was given.
    Raises `SettingsError` for unknown keys, wrong types and values out of range.
    """
    known = {item.name: base_type(kind, item.name) for kind in GROUPS for item in fields(kind)}  # type: ignore[arg-type]
    wanted = [item.name for kind in kinds for item in fields(kind)]  # type: ignore[arg-type]
    from_env = {
        key[len(ENV_PREFIX) :].lower(): text
        for key, text in (env or {}).items()
        if key.startswith(ENV_PREFIX) and key[len(ENV_PREFIX) :] not in RESERVED_ENV
    }
    values: dict[str, object] = {}
    origins = dict.fromkeys(known, "default")
    for origin, raw in (("file", file or {}), ("environment", from_env), ("flag", flags or {})):
        # File and environment are shared by all commands; flags are meant for this one.
        accepted = wanted if origin == "flag" else list(known)
        for name, value in raw.items():
            if name not in accepted:
                raise SettingsError(unknown_key(name, origin, accepted), param=name)
            values[name] = convert(name, value, known[name], origin)
            origins[name] = origin
    groups = {
        kind: kind(**{item.name: values[item.name] for item in fields(kind) if item.name in values})  # type: ignore[arg-type]
        for kind in kinds
    }
    return Resolved(groups, origins)


def read_config_file(path: Path) -> dict[str, object]:
    """A TOML file's keys, with dashes or underscores. Raises `SettingsError` when it cannot be read."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"Cannot read the config file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The config file {path} is not valid TOML: {error}") from error
    return {key.replace("-", "_"): value for key, value in content.items()}


def convert(name: str, value: object, wanted: type, origin: str) -> object:
    """`value` as `wanted`; strings (from the environment) are parsed, nothing else is coerced."""
    if value is None or is_of_type(value, wanted):
        return value
    if isinstance(value, str) and origin == "environment":
        if wanted is bool and value.lower() in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            return value.lower() in ("1", "true", "yes", "on")
        if wanted is int and re.fullmatch(r"\s*-?[0-9]+\s*", value):
            return int(value)
        if wanted is float and re.fullmatch(r"\s*-?[0-9]+(\.[0-9]+)?\s*", value):
            return float(value)
    raise SettingsError(f"{name} from the {origin} is {value!r}; it must be of type {wanted.__name__}", param=name)


def shown(item: Field[Any], value: object) -> object:
    return "***" if value and item.metadata["secret"] else value


def unknown_key(name: str, origin: str, known: list[str]) -> str:
    def spelt(key: str) -> str:
        return ENV_PREFIX + key.upper() if origin == "environment" else key

    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {spelt(near[0])}?" if near else f" Known settings: {', '.join(sorted(known))}."
    return f"Unknown setting {spelt(name)} ({origin}).{hint}"


def describe(kind: type[Checked]) -> list[dict[str, Any]]:
    """The fields of a group as plain facts: name, type, default, help, flags, choices."""
    return [
        {"name": item.name, "type": base_type(kind, item.name), "default": item.default, **item.metadata}
        for item in fields(kind)  # type: ignore[arg-type]
    ]
