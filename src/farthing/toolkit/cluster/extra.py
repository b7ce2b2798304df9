"""What clustering needs that is installed with an extra of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from farthing.core.errors import MissingExtraError

EXTRA = "cluster"


@contextmanager
def needed() -> Iterator[None]:
    """Around the imports of libraries. Raises `MissingExtraError` where one is not installed."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError("Clustering", EXTRA) from error
