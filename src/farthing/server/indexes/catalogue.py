"""Which indexes a server has: those in its folder, opened when they are first asked for.

In: names. Out: open indexes, as they are on disk now: another process may add to them, move them to another model, or
remove them. All of it blocks; not for the event loop. Messages call an index by its name: clients have no business
with the server's folders.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

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
from farthing.toolkit.optional import needed
from farthing.toolkit.stores.database import MANIFEST, Database
from farthing.toolkit.stores.failures import file_errors
from farthing.toolkit.stores.lance.database import LanceDatabase
from farthing.toolkit.stores.name import check_name, is_name

logger = logging.getLogger(__name__)

MOST_NAMED = 20
# As LanceDB calls its threads, and how much they give way (`nice`): to a tenth of what others get.
LANCE_THREADS, LANCE_NICENESS = "lance", 10


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
        self._has_opened = False
        self._segmenter = Segmenter()
        self._segmenter.load_dictionaries()

    def names(self) -> list[str]:
        """Of the indexes that are there, whether they can be opened or not. Raises `VectorIndexError`."""
        with file_errors("folder of this server"):
            found = self._folder.iterdir() if self._folder.exists() else ()
            return sorted(path.name for path in found if is_name(path.name) and is_index(path))

    def infos(self, on_step: Callable[[], None] = lambda: None) -> dict[str, IndexInfo | FarthingError]:
        """Of all indexes, with why it cannot be used for each of which that is so.

        Raises as `names`, and what `on_step` raises, which is called before each.
        """
        found: dict[str, IndexInfo | FarthingError] = {}
        for name in self.names():
            on_step()
            try:
                found[name] = self.open(name).info()
            except IndexNotFoundError:  # removed since the names were read
                continue
            except (VectorIndexError, IndexPlaceError) as error:
                found[name] = error
        return found

    def database(self, name: str) -> Database:
        """The place of an index, there or not.

        Raises:
            InputError: for a name that cannot be one.
            IndexPlaceError: a file has this name.
        """
        check_name(name)
        return LanceDatabase(str(self._folder / name), name)

    def open(self, name: str) -> VectorIndex:
        """Raises `IndexNotFoundError`, `VectorIndexError`, and `InputError` for a name that cannot be one."""
        database = self._existing(name)
        try:
            manifest = database.read(MANIFEST)
            if manifest is None:
                raise self._not_found(name)
            with self._lock:
                opened = self._open.get(name)
                if opened is None or opened[0] != manifest:
                    opened = manifest, VectorIndex.open(database, self._segmenter)
                    if not self._has_opened:  # the first brings LanceDB's modules
                        self._has_opened = True
                        spare_what_came()
                        give_way()
                    self._open[name] = opened
                return opened[1]
        except UnreadableIndexError as error:
            logger.warning("The index in %s cannot be used: %s", self._folder / name, error.__cause__ or error)
            raise

    def remove(self, name: str) -> list[str]:
        """As `remove_index`. Raises as that, and `InputError` for a name that cannot be one."""
        kept = remove_index(self._existing(name))
        with self._lock:
            self._open.pop(name, None)
        return kept

    def _existing(self, name: str) -> Database:
        check_name(name)
        with file_errors(name):
            is_there = is_index(self._folder / name)
        if not is_there:
            raise self._not_found(name)
        return self.database(name)

    def _not_found(self, name: str) -> IndexNotFoundError:
        names = self.names()
        more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
        there_are = ", ".join(names[:MOST_NAMED]) + more or "none"
        return IndexNotFoundError(
            f"There is no index {name!r}; there are: {there_are}. POST /v1/indexes makes one.", param="name"
        )


def is_index(folder: Path) -> bool:
    """Whether there is something in the folder that describes an index. One that may not be looked into counts."""
    try:
        (folder / f"{MANIFEST}.json").lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return True
    return True


def give_way() -> None:
    """Have LanceDB's threads, and those that they will start, go after all others of the process (Linux).

    They compute without the interpreter's lock. When they have taken all processors, the system stops a thread that
    holds it, and then nobody gets on: searches of thousands of words held up all requests for up to 200 ms.
    """
    for task in Path("/proc/self/task").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or its priority may not be changed
            if (task / "comm").read_text().startswith(LANCE_THREADS):
                os.setpriority(os.PRIO_PROCESS, int(task.name), LANCE_NICENESS)
