"""The place where an index lives, its manifest and its data; and the table of the kinds of such places."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

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


class Shelf(Protocol):
    """A place of several indexes, each with a name: what a server's routes answer for.

    Attributes:
        place: for messages.
    """

    place: str

    def names(self) -> list[str]:
        """Of the indexes that are there, whether they can be opened or not. Raises `VectorIndexError`."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is an index of this name. Raises `VectorIndexError`."""
        ...

    def database(self, name: str) -> Database:
        """The place of an index, there or not. Raises `IndexPlaceError` when something else has this name."""
        ...

    def settle(self) -> None:
        """To be called once the first index was opened, which may have started threads."""
        ...


class DatabaseKind(NamedTuple):
    """
    Attributes:
        open: the place of one index.
        open_shelf: a place of several.
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


# By what a place begins with. A new kind is a folder beside these, and a row here. What it needs is imported when it is
# first used.
DATABASES: dict[str, Callable[[], DatabaseKind]] = {"milvus:": milvus, "": lance}


def is_begun(file: Path) -> bool:
    """Whether this is what `Database.begun_file` names, or the beginning of one."""
    if not file.is_file() or file.is_symlink():
        return False
    with file.open("rb") as stream:
        return BEGUN_MARK.startswith(stream.read(len(BEGUN_MARK)))


def kind_of_place(place: str) -> DatabaseKind:
    return next(kind for prefix, kind in DATABASES.items() if place.startswith(prefix))()


def open_database(place: str) -> Database:
    """A folder, or "milvus:URI/NAME".

    Raises:
        MissingExtraError: what this kind of place needs is not installed.
        SettingsError: there can be no index in a place of this name.
        VectorIndexError: the place cannot be looked at.
    """
    return kind_of_place(place).open(place)


def open_shelf(place: str) -> Shelf:
    """A folder with a folder for each index, or "milvus:URI". Raises as `open_database`."""
    return kind_of_place(place).open_shelf(place)
