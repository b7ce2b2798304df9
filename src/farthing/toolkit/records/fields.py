"""Chooses and checks the field of a record that holds the text, and puts the record's place into errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from farthing.core.errors import InputError, TextTooLongError, failed_index

DEFAULT_FIELD = "text"
EMBEDDING_FIELD = "embedding"


def choose_field(names: Collection[str], wanted: str | None, place: str) -> str:
    """The field to embed: `wanted`, or "text", or the only one there is.

    Raises:
        InputError: there is no such field; the message lists the fields there are.
    """
    if wanted is None and DEFAULT_FIELD not in names and len(names) == 1:
        return next(iter(names))
    hint = "" if wanted else " Name the one that holds the text with --field."
    require_field(names, wanted or DEFAULT_FIELD, place, hint=hint)
    return wanted or DEFAULT_FIELD


def require_field(names: Collection[str], field: str, place: str, hint: str = "") -> None:
    """Raise `InputError` when `field` is not among `names`."""
    if field not in names:
        there = f"its fields are {', '.join(map(repr, names))}" if names else "it has no fields"
        raise InputError(f"{place} has no field {field!r}; {there}.{hint}", param="field")


def require_free(names: Collection[str], reserved: str | None, place: str) -> None:
    """Raise `InputError` when the input already has the field that the output adds."""
    if reserved in names:
        raise InputError(
            f"{place} already has a field {reserved!r}, which the output adds. Rename it, or write only the vectors "
            "(-o NAME.npy).",
            param="input",
        )


def require_text(value: object, field: str, place: str) -> str:
    """`value`, if it is a string. Raises `InputError` otherwise."""
    if not isinstance(value, str):
        kind = "null" if value is None else f"of type {type(value).__name__}"
        raise InputError(f"{place}: the field {field!r} is {kind}; a text is a string.", param="input")
    return value


def with_fields(record: str, fields: str) -> str:
    """A JSON object with more fields at its end, given as `"name": value, ...`; what was there keeps its spelling."""
    return record.rstrip().removesuffix("}").rstrip() + f", {fields}}}"


def placed_message(error: InputError, place: str) -> str:
    """The error's message with the record's place in the input instead of its index in a request."""
    if isinstance(error, TextTooLongError):
        return (
            f"{place} has {error.found}; this model takes at most {error.max_tokens}. Shorten or split the "
            "text, or give --truncate to cut all such texts."
        )
    return re.sub(r"^Text \d+", place, str(error))


def placed_error(error: InputError, place: str) -> InputError:
    """The error, with the record's place in the input."""
    message = placed_message(error, place)
    return InputError(message if message.startswith(place) else f"{place}: {message}", param="input")


@contextmanager
def errors_placed(place: Callable[[int], str]) -> Iterator[None]:
    """Wrap the work on a batch of texts: an error of one of them names `place(index)` instead of its index."""
    try:
        yield
    except InputError as error:
        index = failed_index(error)
        if index is None:
            raise
        raise InputError(placed_message(error, place(index)), param="input") from error
