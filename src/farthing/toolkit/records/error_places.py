"""Errors of a text in a batch, said with the place of its record in the input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from farthing.core.errors import InputError, TextTooLongError, failed_index


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
    """Around the work on a batch of texts: an error of one of them names `place(index)` instead of its index."""
    try:
        yield
    except InputError as error:
        index = failed_index(error)
        if index is None:
            raise
        raise InputError(placed_message(error, place(index)), param="input") from error
