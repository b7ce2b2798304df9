"""What a settings field is: its help text, further spellings, and limits that are checked when a group is made.

The value of a secret field appears in no message, start-up line or repr; a password in an address appears in no line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from farthing.core.errors import SettingsError, shown

HIDDEN = "***"
TYPES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", tuple: "a list of texts"}
PASSWORD = re.compile(r"(?<=://)[^@/]*@")  # user and password of an address such as redis://:secret@host


def option(
    default: Any,
    help: str,
    *,
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    repeatable: bool = False,
    secret: bool = False,
) -> Any:
    """A settings field. `flags` are further spellings on the command line (`--name-of-field` always works).

    The values of a `repeatable` flag that is given several times are joined by commas. A `secret` value is shown
    nowhere.
    """
    metadata = {"help": help, "flags": flags, "choices": choices, "minimum": minimum, "maximum": maximum}
    metadata |= {"repeatable": repeatable, "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


def shown_value(item: Field[Any], value: object) -> str:
    """`value` as it may appear in a log."""
    if item.metadata.get("secret") and value is not None:
        return HIDDEN
    return PASSWORD.sub(f"{HIDDEN}@", str(value))


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """The types of a class's fields, kept because finding them out takes long."""
    return get_type_hints(kind)


def base_type(kind: type[Checked], name: str) -> type:
    """The field's type without `| None`; tuple for a tuple of texts."""
    anything: Any = kind  # mypy takes a class of unhashable instances for unhashable itself
    hint = hints_of(anything)[name]
    if get_origin(hint) is tuple:
        return tuple
    options = [option for option in get_args(hint) if option is not type(None)]
    chosen = options[0] if options else hint
    assert isinstance(chosen, type)
    return chosen


def is_of_type(value: object, wanted: type) -> bool:
    """Whether `value` can stand in a field of that type; whole numbers are numbers, True and False are not."""
    if wanted in (int, float):
        return isinstance(value, (int, wanted)) and not isinstance(value, bool)
    if wanted is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, wanted)


def check_field(item: Field[Any], wanted: type, value: object) -> None:
    """Raise `SettingsError` when `value` is of another type, is none of the choices, or is outside the limits."""
    if value is None and item.default is None:
        return
    if not is_of_type(value, wanted):
        got = HIDDEN if item.metadata.get("secret") else shown(value)
        raise SettingsError(f"{item.name} is {got}; it must be {TYPES[wanted]}", param=item.name)
    choices, low, high = (item.metadata.get(key) for key in ("choices", "minimum", "maximum"))
    if choices and value not in choices:
        raise SettingsError(f"{item.name} is {shown(value)}; available: {', '.join(choices)}", param=item.name)
    what = "a whole number" if wanted is int else "a number"
    # The comparisons are negated, so that a NaN is refused too.
    if low is not None and not value >= low:
        raise SettingsError(f"{item.name} is {shown(value)}; it must be {what} of at least {low}", param=item.name)
    if high is not None and not value <= high:
        raise SettingsError(
            f"{item.name} is {shown(value)}; it must be {what} of at most {high}. {item.metadata['help']}",
            param=item.name,
        )


def check_http_url(name: str, url: str, example: str) -> None:
    """Raise `SettingsError` when `url`, the value of the setting `name`, is no address of a web server."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets without an address
        is_good = False
    if not is_good:
        got = PASSWORD.sub(f"{HIDDEN}@", url)
        raise SettingsError(f"{name} is {got!r}; it must be a URL such as {example}", param=name)


class Checked:
    """A mixin that checks every field when an instance is made."""

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            assert item.default is not MISSING, f"{item.name} needs a default"
            check_field(item, base_type(type(self), item.name), getattr(self, item.name))

    @classmethod
    def among(cls, values: Mapping[str, object]) -> dict[str, object]:
        """The entries of `values` that are settings of this group."""
        return {item.name: values[item.name] for item in fields(cls) if item.name in values}  # type: ignore[arg-type]
