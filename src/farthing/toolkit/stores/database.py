"""The place where an index lives: its manifest and its data. One file a kind of database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from farthing.toolkit.stores.store import Store


class Database(Protocol):
    """
    Attributes:
        place: for messages.
    """

    place: str

    def read(self, name: str) -> str | None:
        """A note kept under this name, None where there is none."""
        ...

    def write(self, name: str, note: str | None) -> None:
        """Keep a note, whole or not at all; None removes it."""
        ...

    def open(self, data: str, dimensions: int) -> Store:
        """The store of this name, made empty where there is none."""
        ...

    def drop(self, data: str) -> None:
        """Remove a store, if it is there."""
        ...

    def writing(self) -> AbstractContextManager[object]:
        """While the index is changed. Raises `IndexBusyError` when another process changes it."""
        ...

    def remove(self) -> None:
        """All of the index."""
        ...


def open_database(place: str) -> Database:
    """A folder, or "milvus:URI/NAME".

    Raises:
        MissingExtraError: what this kind of place needs is not installed.
        SettingsError: there can be no index in a place of this name.
    """
    if place.startswith("milvus:"):
        from farthing.toolkit.stores.milvus_database import MilvusDatabase

        return MilvusDatabase(place)
    from farthing.toolkit.stores.lance_database import LanceDatabase

    return LanceDatabase(place)
