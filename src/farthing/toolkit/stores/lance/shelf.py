"""A folder of indexes, each of which is in a folder of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from farthing.core.files import user_path
from farthing.toolkit.optional import needed
from farthing.toolkit.stores.database import MANIFEST
from farthing.toolkit.stores.failures import file_errors
from farthing.toolkit.stores.lance.database import LanceDatabase
from farthing.toolkit.stores.lance.library import import_lancedb
from farthing.toolkit.stores.name import is_name

# How the names of LanceDB's threads begin, and how much these give way (`nice`): to a tenth of what others get.
LANCE_THREADS, LANCE_NICENESS = "lance", 10


class LanceShelf:
    """A folder of indexes. `place` is made when the first index is made. Raises `MissingExtraError`.

    Messages call an index by its name alone: clients of a server have no business with its folders.
    """

    def __init__(self, place: str) -> None:
        with needed("--index-folder"):
            import_lancedb()
        self.place = place
        self._folder = user_path(place)

    def names(self) -> list[str]:
        with file_errors("folder of this server"):
            found = self._folder.iterdir() if self._folder.exists() else ()
            return sorted(path.name for path in found if is_name(path.name) and is_index(path))

    def has(self, name: str) -> bool:
        with file_errors(name):
            return is_index(self._folder / name)

    def database(self, name: str) -> LanceDatabase:
        return LanceDatabase(str(self._folder / name), name)

    def settle(self) -> None:
        give_way()


def is_index(folder: Path) -> bool:
    """Whether the folder holds something that describes an index. A folder that may not be looked into counts."""
    try:
        (folder / f"{MANIFEST}.json").lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return True
    return True


def give_way() -> None:
    """Let LanceDB's threads, and those that they will start, go after all other threads of the process (Linux).

    They compute without the interpreter's lock. When they have taken all processors, the system stops a thread that
    holds the lock, and then no thread gets on: searches of thousands of words held up all requests for up to 200 ms.
    """
    for task in Path("/proc/self/task").glob("[0-9]*"):
        with suppress(OSError):  # the thread has ended, or its priority may not be changed
            if (task / "comm").read_text().startswith(LANCE_THREADS):
                os.setpriority(os.PRIO_PROCESS, int(task.name), LANCE_NICENESS)
