"""The indexes that a server has, in its folder or at its address of Milvus; each is opened when it is first asked for.

In: names. Out: open indexes, as they are on disk now: another process may add to them, move them to another model, or
remove them. All of the calls block, and must not be made on the event loop. Messages call an index by its name: clients
have no business with the places of the server's data.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from farthing.core.collector import spare_what_came
from farthing.core.errors import (
    FarthingError,
    IndexNotFoundError,
    IndexPlaceError,
    UnreadableIndexError,
    VectorIndexError,
)
from farthing.toolkit.index.index import IndexInfo, VectorIndex, remove_index
from farthing.toolkit.index.words import Segmenter
from farthing.toolkit.stores.database import MANIFEST, Database, open_shelf
from farthing.toolkit.stores.name import check_name

logger = logging.getLogger(__name__)

MOST_NAMED = 20


class Catalogue:
    """The indexes in one place.

    Args:
        place: as `open_shelf` takes it. Raises as `open_shelf`.
    """

    def __init__(self, place: str) -> None:
        self._shelf = open_shelf(place)
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, VectorIndex]] = {}  # with the manifest by which the index was opened
        self._has_opened = False
        self._segmenter = Segmenter()
        self._segmenter.load_dictionaries()

    def names(self) -> list[str]:
        """Return the names of the indexes that exist, whether they can be opened or not. Raises `VectorIndexError`."""
        return self._shelf.names()

    def infos(self, on_step: Callable[[], None] = lambda: None) -> dict[str, IndexInfo | FarthingError]:
        """Return the facts of every index, or the reason why it cannot be used.

        `on_step` is called before each index. Raises as `names`, and what `on_step` raises.
        """
        found: dict[str, IndexInfo | FarthingError] = {}
        for name in self.names():
            on_step()
            try:
                found[name] = self.open(name).info()
            except IndexNotFoundError:  # it was removed since the names were read
                continue
            except (VectorIndexError, IndexPlaceError) as error:
                found[name] = error
        return found

    def database(self, name: str) -> Database:
        """Return the place of an index, whether the index exists or not.

        Raises:
            InputError: the name cannot be one of an index.
            IndexPlaceError: a file has this name.
        """
        check_name(name)
        return self._shelf.database(name)

    def open(self, name: str) -> VectorIndex:
        """Return the open index.

        Raises `IndexNotFoundError`, `VectorIndexError`, and `InputError` for a name that no index can have.
        """
        database = self._existing(name)
        try:
            manifest = database.read(MANIFEST)
            if manifest is None:
                raise self._not_found(name)
            with self._lock:
                opened = self._open.get(name)
                if opened is None or opened[0] != manifest:
                    opened = manifest, VectorIndex.open(database, self._segmenter)
                    if not self._has_opened:  # the first index imports the modules of its kind
                        self._has_opened = True
                        spare_what_came()
                        self._shelf.settle()
                    self._open[name] = opened
                return opened[1]
        except UnreadableIndexError as error:
            logger.warning("The index %s in %s cannot be used: %s", name, self._shelf.place, error.__cause__ or error)
            raise

    def remove(self, name: str) -> list[str]:
        """Do as `remove_index` does. Raises as it does, and `InputError` for a name that no index can have."""
        kept = remove_index(self._existing(name))
        with self._lock:
            self._open.pop(name, None)
        return kept

    def _existing(self, name: str) -> Database:
        check_name(name)
        if not self._shelf.has(name):
            raise self._not_found(name)
        return self.database(name)

    def _not_found(self, name: str) -> IndexNotFoundError:
        names = self.names()
        more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
        there_are = ", ".join(names[:MOST_NAMED]) + more or "none"
        return IndexNotFoundError(
            f"There is no index {name!r}; there are: {there_are}. POST /v1/indexes makes one.", param="name"
        )
