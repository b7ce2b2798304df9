"""Resolves settings once: defaults, then file, then environment, then flags.

In: the raw mappings of each origin. Out: frozen settings objects and, for the start-up log, where each value came
from. An unknown key in the file or an unknown FARTHING_* variable is an error that names the nearest known one.
Only one caller, the command line, reads the environment or a file.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from farthing.core.deferred import dataclass
from farthing.core.errors import MAX_SHOWN, SettingsError, shown
from farthing.core.settings import GROUPS, RETIRED, Checked, base_type, is_of_type
from farthing.core.settings.field import HIDDEN, TYPES, shown_value

logger = logging.getLogger(__name__)

ENV_PREFIX = "FARTHING_"
TABLES = ("models", "routes")  # the tables of a config file, which only `farthing serve` reads
# Variables with that prefix that are read elsewhere: the config file's place, how the library is compiled, the tests'
# model folders.
RESERVED_ENV = frozenset({"CONFIG", "NATIVE", "QWEN3_DIR", "TEST_INFINITY", "TEST_MODELS", "TEST_XLLAMACPP"})
# What Kubernetes puts into a container for a Service whose name begins with farthing, as name=value. FARTHING_PORT is
# also a setting: only an address makes it one of these.
OF_SERVICE = re.compile(
    r"""([A-Z0-9_]{0,64}_)?(
    SERVICE_HOST=[0-9a-fA-F.:]+ | SERVICE_PORT(_[A-Z0-9_]+)?=[0-9]+ | PORT=(tcp|udp|sctp)://\S+ |
    PORT_[0-9]+_(TCP|UDP|SCTP)( =(tcp|udp|sctp)://\S+ | _PROTO=(tcp|udp|sctp) | _PORT=[0-9]+ | _ADDR=[0-9a-fA-F.:]+ )
    )""",
    re.VERBOSE,
)

Group = TypeVar("Group", bound=Checked)


@dataclass(frozen=True)
class Resolved:
    """Settings groups by type, and the origin ("default", "file", "environment", "flag") of each key.

    `tables` are the file's `TABLES` as they are; they are no settings (`farthing.core.models_file`).
    """

    groups: Mapping[type[Checked], Checked]
    origins: Mapping[str, str]
    tables: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, *groups: Checked) -> Resolved:
        """Every group: the given ones, and the others with their defaults."""
        return cls({**{kind: kind() for kind in GROUPS}, **{type(group): group for group in groups}}, {})

    def group(self, kind: type[Group]) -> Group:
        value = self.groups[kind]
        assert isinstance(value, kind)
        return value

    def with_values(self, values: Mapping[str, object], origin: str) -> Resolved:
        """The same groups with other values, which are of the right types and from `origin`. Raises `SettingsError`."""
        groups = {
            kind: replace(group, **own) if (own := group.among(values)) else group  # type: ignore[type-var]
            for kind, group in self.groups.items()
        }
        return Resolved(groups, {**self.origins, **dict.fromkeys(values, origin)}, self.tables)

    def lines(self) -> list[str]:
        """A line `name = value (origin)` for each setting, for the start-up log; passwords in URLs are left out."""
        return [
            f"{item.name} = {shown_value(item, getattr(group, item.name))} ({self.origins[item.name]})"
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
    """Merge the origins; later ones override earlier ones.

    `env` holds whole environment variables; only FARTHING_* count, but none that Kubernetes made for a Service. `flags`
    holds only what was given.
    Raises `SettingsError` for unknown keys, wrong types and values out of range.
    """
    known = {item.name: base_type(kind, item.name) for kind in GROUPS for item in fields(kind)}  # type: ignore[arg-type]
    secret = {item.name for kind in GROUPS for item in fields(kind) if item.metadata.get("secret")}  # type: ignore[arg-type]
    wanted = [item.name for kind in kinds for item in fields(kind)]  # type: ignore[arg-type]
    from_env = {
        key[len(ENV_PREFIX) :].lower(): text
        for key, text in (env or {}).items()
        if key.startswith(ENV_PREFIX) and not is_reserved(key[len(ENV_PREFIX) :], text)
    }
    values: dict[str, object] = {}
    origins = dict.fromkeys(known, "default")
    tables = {name: value for name, value in (file or {}).items() if name in TABLES}
    from_file = {name: value for name, value in (file or {}).items() if name not in TABLES}
    for origin, raw in (("file", from_file), ("environment", from_env), ("flag", flags or {})):
        # All commands share file and environment; flags are meant for this one.
        accepted = wanted if origin == "flag" else list(known)
        for name, value in raw.items():
            if name in RETIRED:
                logger.warning("%s (%s) is no setting any more: %s.", spelt(name, origin), origin, RETIRED[name][1])
                continue
            if name not in accepted and isinstance(value, dict):
                raise SettingsError(
                    f"The config file has a table [{name}]; settings stand at its top, and its only tables are "
                    "[models.NAME] and [routes].",
                    param=name,
                )
            if name not in accepted:
                raise SettingsError(unknown_key(name, origin, accepted), param=name[:MAX_SHOWN])
            values[name] = convert(name, value, known[name], origin, secret=name in secret)
            origins[name] = origin
    groups = {kind: kind(**kind.among(values)) for kind in kinds}
    return Resolved(groups, origins, tables)


def is_reserved(name: str, text: str) -> bool:
    """Whether a variable, named without the prefix, is not a setting although it has the prefix."""
    return name in RESERVED_ENV or OF_SERVICE.fullmatch(f"{name}={text}") is not None


def read_config_file(path: Path) -> dict[str, object]:
    """A TOML file by its keys, in which dashes become underscores. Raises `SettingsError` when it cannot be read."""
    return {key.replace("-", "_"): value for key, value in read_toml(path, "config file").items()}


def read_toml(path: Path, what: str) -> dict[str, object]:
    """A TOML file as it is; messages call it `what`. Raises `SettingsError` when it cannot be read."""
    # Most starts read no file, and should not wait for its parser.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        content: dict[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"Cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The {what} {path} is not UTF-8 text, which TOML must be.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The {what} {path} is not valid TOML: {error}") from error
    except ValueError as error:  # a number of thousands of digits
        raise SettingsError(f"The {what} {path} cannot be read: {error}.") from error
    except RecursionError as error:
        raise SettingsError(f"The {what} {path} cannot be read: it nests too deep.") from error
    return content


def convert(name: str, value: object, wanted: type, origin: str, *, secret: bool = False) -> object:
    """`value` as `wanted`; strings (from the environment) are parsed, nothing else is coerced."""
    if wanted is tuple and isinstance(value, list):
        value = tuple(value)
    if value is None or is_of_type(value, wanted):
        return value
    if isinstance(value, str) and origin == "environment":
        if wanted is bool and value.lower() in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            return value.lower() in ("1", "true", "yes", "on")
        if wanted is int and re.fullmatch(r"\s*-?[0-9]{1,64}\s*", value):
            return int(value)
        if wanted is float and re.fullmatch(r"\s*-?[0-9]+(\.[0-9]+)?\s*", value):
            return float(value)
    got = HIDDEN if secret else shown(value)
    raise SettingsError(f"{name} from the {origin} is {got}; it must be {TYPES[wanted]}", param=name)


def unknown_key(name: str, origin: str, known: list[str]) -> str:
    name = name[:MAX_SHOWN]
    import difflib  # for a message alone

    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {spelt(near[0], origin)}?" if near else f" Known settings: {', '.join(sorted(known))}."
    return f"Unknown setting {spelt(name, origin)} ({origin}).{hint}"


def spelt(name: str, origin: str) -> str:
    """A setting's name as it is written where it came from."""
    return ENV_PREFIX + name.upper() if origin == "environment" else name


def describe(kind: type[Checked]) -> list[dict[str, Any]]:
    """The fields of a group as plain facts: name, type, default, help, flags, choices."""
    return [
        {"name": item.name, "type": base_type(kind, item.name), "default": item.default, **item.metadata}
        for item in fields(kind)  # type: ignore[arg-type]
    ]
