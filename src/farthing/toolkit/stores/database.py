"""The place where an index lives: its manifest and its data. One file a kind of database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from farthing.toolkit.stores.store import Store

# What an index says of itself, and of itself once a move to another model is done (`farthing.toolkit.index`).
MANIFEST, NEXT_MANIFEST = "farthing-index", "farthing-index-next"
# The first bytes of the file that `Database.begun_file` names, which tell it from somebody else's.
BEGUN_MARK = b"vectors begun by farthing, 1\n"


class Database(Protocol):
    """
    Attributes:
        place: for messages.
    """

    place: str

    def read(self, name: str) -> str | None:
        """A note kept under this name, None where there is none. Raises `UnreadableIndexError`."""
        ...

    def write(self, name: str, note: str | None) -> None:
        """Keep a note, whole or not at all; None removes it."""
        ...

    def has(self, data: str) -> bool:
        """Whether there is a store of this name. Raises `UnreadableIndexError` for one that cannot be trusted."""
        ...

    def open(self, data: str, dimensions: int) -> Store:
        """The store of this name, made empty where there is none.

        Raises:
            IndexPlaceError: something that Farthing did not make has this name.
            UnreadableIndexError: it is damaged.
        """
        ...

    def drop(self, data: str) -> None:
        """Remove a store, if it is there and Farthing made it."""
        ...

    def begun_file(self) -> Path | None:
        """Where vectors of documents that are not whole yet may be kept, with `BEGUN_MARK` first; None where there is
        no disk beside the data. Whoever removes the index removes it too."""
        ...

    def check_free(self) -> None:
        """Raises `IndexPlaceError` where no index can be made, because something else is there.

        What is left of an index whose making or removing was cut short does not count.
        """
        ...

    def making(self) -> AbstractContextManager[None]:
        """As `writing`, in a place that may not be there yet. When its body fails, the place is as it was before."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """While the index is changed. Raises `IndexBusyError` when another process changes it."""
        ...

    def remove(self) -> list[str]:
        """All of the index that Farthing made. Returns names of what else is in its place, which stays with it."""
        ...


def is_begun(file: Path) -> bool:
    """Whether this is what `Database.begun_file` names, or the beginning of one."""
    if not file.is_file() or file.is_symlink():
        return False
    with file.open("rb") as stream:
        return BEGUN_MARK.startswith(stream.read(len(BEGUN_MARK)))


def open_database(place: str) -> Database:
    """A folder, or "milvus:URI/NAME".

    Raises:
        MissingExtraError: what this kind of place needs is not installed.
        SettingsError: there can be no index in a place of this name.
        VectorIndexError: the place cannot be looked at.
    """
    if place.startswith("milvus:"):
        from farthing.toolkit.stores.milvus.database import MilvusDatabase

        return MilvusDatabase(place)
    from farthing.toolkit.stores.lance.database import LanceDatabase

    return LanceDatabase(place)
