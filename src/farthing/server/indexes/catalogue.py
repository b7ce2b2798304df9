"""Which indexes a server has: those in its folder, opened when they are first asked for.

In: names. Out: open indexes, as they are on disk now: another process may add to them, move them to another model, or
remove them. All of it blocks; not for the event loop.
"""

from __future__ import annotations

import threading
from pathlib import Path

from farthing.core.errors import IndexNotFoundError
from farthing.toolkit.extra import needed
from farthing.toolkit.index.index import MANIFEST, VectorIndex
from farthing.toolkit.index.words import Segmenter
from farthing.toolkit.stores.database import Database
from farthing.toolkit.stores.lance_database import LanceDatabase
from farthing.toolkit.stores.name import check_name, is_name


class Catalogue:
    """
    Args:
        folder: with a folder for each index; made when the first index is.

    Raises `MissingExtraError` where what an index needs is not installed.
    """

    def __init__(self, folder: Path) -> None:
        with needed("--index-folder"):
            import lancedb  # noqa: F401
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, VectorIndex]] = {}  # with the manifest that it was opened by
        self._segmenter = Segmenter()

    def names(self) -> list[str]:
        found = self._folder.glob(f"*/{MANIFEST}.json")
        return sorted(path.parent.name for path in found if is_name(path.parent.name))

    def database(self, name: str) -> Database:
        """The place of an index, there or not. Raises `InputError` for a name that cannot be one."""
        check_name(name)
        return LanceDatabase(str(self._folder / name))

    def open(self, name: str) -> VectorIndex:
        """Raises `IndexNotFoundError`, `VectorIndexError`, and `InputError` for a name that cannot be one."""
        database = self.database(name)
        manifest = database.read(MANIFEST)
        if manifest is None:
            raise IndexNotFoundError(
                f"There is no index {name!r}; there are: {', '.join(self.names()) or 'none'}. POST /v1/indexes makes "
                "one.",
                param="name",
            )
        with self._lock:
            opened = self._open.get(name)
            if opened is None or opened[0] != manifest:
                opened = manifest, VectorIndex.open(database, self._segmenter)
                self._open[name] = opened
            return opened[1]

    def remove(self, name: str) -> None:
        """Raises as `open`, and `IndexBusyError`."""
        self.open(name).remove()
        with self._lock:
            self._open.pop(name, None)
