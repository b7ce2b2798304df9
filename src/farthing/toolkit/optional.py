"""Imports that a part of the toolkit needs and that are installed with an extra of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from farthing.core.errors import MissingExtraError


@contextmanager
def needed(what: str, extra: str = "search") -> Iterator[None]:
    """Wrap the imports that `what` cannot do without. Raises `MissingExtraError` where one is not installed."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(what, extra) from error
