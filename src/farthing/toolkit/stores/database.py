"""Places where an index lives, with its manifest and its data; and the table of the kinds of such places."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from farthing.toolkit.stores.store import Store

# The names of the notes with an index's manifest, and with its manifest once a move to another model is done
# (`farthing.toolkit.index`).
MANIFEST, NEXT_MANIFEST = "farthing-index", "farthing-index-next"
# The first bytes of the file that `Database.begun_file` names, which tell it from somebody else's.
BEGUN_MARK = b"vectors begun by farthing, 1\n"


class Database(Protocol):
    """The place of one index.

    Attributes:
        place: its name in messages.
    """

    place: str

    def read(self, name: str) -> str | None:
        """The note that is kept under this name; None where there is none. Raises `UnreadableIndexError`."""
        ...

    def write(self, name: str, note: str | None) -> None:
        """Keep a note, whole or not at all; None removes it."""
        ...

    def has(self, data: str) -> bool:
        """Whether there is a store of this name. Raises `UnreadableIndexError` for one that cannot be trusted."""
        ...

    def open(self, data: str, dimensions: int) -> Store:
        """Open the store of this name; it is made empty where there is none.

        Raises:
            IndexPlaceError: something that Farthing did not make has this name.
            UnreadableIndexError: the store is damaged.
        """
        ...

    def drop(self, data: str) -> None:
        """Remove a store, if it is there and Farthing made it."""
        ...

    def begun_file(self) -> Path | None:
        """The file where vectors of documents that are not whole yet may be kept, with `BEGUN_MARK` first; None where
        there is no disk beside the data. Whoever removes the index removes this file too."""
        ...

    def check_free(self) -> None:
        """Raise `IndexPlaceError` where no index can be made, because something else is there.

        What is left of an index whose making or removing was cut short does not count.
        """
        ...

    def making(self) -> AbstractContextManager[None]:
        """Like `writing`, in a place that may not be there yet. When the body fails, the place is as it was before."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Keep other writers out meanwhile. Raises `IndexBusyError` when another process changes the index."""
        ...

    def remove(self) -> list[str]:
        """Remove all of the index that Farthing made. Returns names of what else is there, which stays with the
        place."""
        ...


class Shelf(Protocol):
    """A place of several indexes, each with a name: what a server's routes answer for.

    Attributes:
        place: its name in messages.
    """

    place: str

    def names(self) -> list[str]:
        """The names of the indexes that are there, whether they can be opened or not. Raises `VectorIndexError`."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is an index of this name. Raises `VectorIndexError`."""
        ...

    def database(self, name: str) -> Database:
        """The place of an index, there or not. Raises `IndexPlaceError` when something else has this name."""
        ...

    def settle(self) -> None:
        """Settle the threads that opening the first index may have started. Call this once after it."""
        ...


class DatabaseKind(NamedTuple):
    """
    Attributes:
        open: opens the place of one index.
        open_shelf: opens a place of several indexes.
    """

    open: Callable[[str], Database]
    open_shelf: Callable[[str], Shelf]


def lance() -> DatabaseKind:
    from farthing.toolkit.stores.lance.database import LanceDatabase
    from farthing.toolkit.stores.lance.shelf import LanceShelf

    return DatabaseKind(LanceDatabase, LanceShelf)


def milvus() -> DatabaseKind:
    from farthing.toolkit.stores.milvus.database import MilvusDatabase
    from farthing.toolkit.stores.milvus.shelf import MilvusShelf

    return DatabaseKind(MilvusDatabase, MilvusShelf)


# The kinds of places, by what the name of a place begins with. To add a kind, add a folder beside these, and a row
# here. What a kind needs is imported when it is first used.
DATABASES: dict[str, Callable[[], DatabaseKind]] = {"milvus:": milvus, "": lance}


def is_begun(file: Path) -> bool:
    """Whether a file is the one that `Database.begun_file` names, or the beginning of one."""
    if not file.is_file() or file.is_symlink():
        return False
    with file.open("rb") as stream:
        return BEGUN_MARK.startswith(stream.read(len(BEGUN_MARK)))


def kind_of_place(place: str) -> DatabaseKind:
    return next(kind for prefix, kind in DATABASES.items() if place.startswith(prefix))()


def open_database(place: str) -> Database:
    """Open the place of an index: a folder, or "milvus:URI/NAME".

    Raises:
        MissingExtraError: what this kind of place needs is not installed.
        SettingsError: there can be no index in a place of this name.
        VectorIndexError: the place cannot be looked at.
    """
    return kind_of_place(place).open(place)


def open_shelf(place: str) -> Shelf:
    """Open a place of several indexes: a folder with a folder for each index, or "milvus:URI". Raises what
    `open_database` raises."""
    return kind_of_place(place).open_shelf(place)
