"""An index in a folder: a file for each note, a folder for each store.

The folder is the index's own: it was made for the index, or was empty. What somebody else puts into it later stays when
the index is removed. Symbolic links in the folder are not followed, so that nothing outside is changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farthing.core.errors import IndexNotFoundError, IndexPlaceError, UnreadableIndexError
from farthing.core.files import PRIVATE_FOLDER, temporary_of, user_path, write_atomically
from farthing.toolkit.stores.database import is_begun
from farthing.toolkit.stores.failures import file_errors, lance_errors
from farthing.toolkit.stores.lance.folder import has_table, is_ours, make_data, remove_data, remove_empty
from farthing.toolkit.stores.lance.names import BEGUN, LOCK, NOTES
from farthing.toolkit.stores.lance.notes import read_note
from farthing.toolkit.stores.lance.store import LanceStore
from farthing.toolkit.stores.lock import one_writer

MOST_NAMED = 5


class LanceDatabase:
    """
    Args:
        folder: made when an index is made.
        place: what messages call the folder; None for its name as it is given.

    Raises `IndexPlaceError` when `folder` is a file or has a name that is not UTF-8, and `VectorIndexError` when it
    cannot be looked at.
    """

    def __init__(self, folder: str, place: str | None = None) -> None:
        self.place = folder if place is None else place
        self._folder = user_path(folder)
        check_utf8(self._folder, self.place)
        with file_errors(self.place):
            if self._folder.exists() and not self._folder.is_dir():
                raise IndexPlaceError(f"{self.place} is a file; an index is a folder.", param="store")

    # --- notes and data -----------------------------------------------------------------------------------------------

    def read(self, name: str) -> str | None:
        with file_errors(self.place):
            return read_note(self._folder / f"{name}.json", self.place)

    def write(self, name: str, note: str | None) -> None:
        file = self._folder / f"{name}.json"
        with file_errors(self.place):
            if note is None:
                file.unlink(missing_ok=True)
            else:
                write_atomically(file, lambda path: path.write_text(note, encoding="utf-8"), private=True)

    def has(self, data: str) -> bool:
        with file_errors(self.place):
            return has_table(self._folder / data, self.place)

    def open(self, data: str, dimensions: int) -> LanceStore:
        folder = self._folder / data
        with self._errors():
            if not has_table(folder, self.place):
                self.drop(data)
                make_folders(self._folder)
                make_data(folder, self.place)
            return LanceStore(folder, dimensions, self._errors)

    def drop(self, data: str) -> None:
        with file_errors(self.place):
            if is_ours(self._folder / data, self.place):
                remove_data(self._folder / data)

    def begun_file(self) -> Path:
        return self._folder / BEGUN

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Wrap calls of LanceDB. Raises `VectorIndexError`."""
        try:
            with lance_errors(self.place):
                yield
        except UnreadableIndexError as error:
            if not os.path.lexists(self._folder / NOTES[0]):
                raise IndexNotFoundError(f"The index {self.place} is not there any more: it was removed.") from error
            raise

    # --- the folder as a whole ----------------------------------------------------------------------------------------

    def check_free(self) -> None:
        with file_errors(self.place):
            if self._folder.is_symlink():
                raise IndexPlaceError(
                    f"{self.place} is a symbolic link; an index is a folder of its own. Name the folder itself, or "
                    "choose another place.",
                    param="store",
                )
            foreign = [name for name in sorted(self._names()) if not self._is_left_over(name)]
        if foreign:
            raise IndexPlaceError(
                f"The folder {self.place} is not empty (it holds {listed(foreign)}), and an index is a folder of its "
                "own. Choose another place.",
                param="store",
            )

    @contextmanager
    def making(self) -> Iterator[None]:
        with file_errors(self.place):
            made = make_folders(self._folder)
        lock = self._folder / LOCK
        is_locked_before = os.path.lexists(lock)
        try:
            with one_writer(lock, self.place):
                try:
                    yield
                except BaseException:
                    if not is_locked_before:
                        lock.unlink()
                    raise
        except BaseException:
            for folder in reversed(made):
                remove_empty(folder)
            raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        with file_errors(self.place):
            is_there = self._folder.is_dir()
        if not is_there:
            raise IndexNotFoundError(f"There is no index {self.place}: its folder is not there.")
        with one_writer(self._folder / LOCK, self.place):
            yield

    def remove(self) -> list[str]:
        with file_errors(self.place):
            if self._folder.is_symlink():
                raise IndexPlaceError(
                    f"{self.place} is a symbolic link; nothing was removed. Remove the index where it is: name the "
                    "folder itself.",
                    param="store",
                )
            for name in NOTES:
                if not (self._folder / name).is_dir():
                    (self._folder / name).unlink(missing_ok=True)
            for name in self._names():
                if is_ours(self._folder / name, self.place):
                    remove_data(self._folder / name)
                elif self._is_note_cut_short(name) or self._is_begun(name):
                    (self._folder / name).unlink()
            if self._is_lock(LOCK):
                (self._folder / LOCK).unlink()
            kept = sorted(self._names())
            if not kept and not is_working_folder(self._folder):
                remove_empty(self._folder)
        return kept

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []

    def _is_left_over(self, name: str) -> bool:
        """Whether a file or folder of this name is left of an index whose making or removing was cut short."""
        is_file = self._is_lock(name) or self._is_begun(name) or self._is_note_cut_short(name)
        return is_file or is_ours(self._folder / name, self.place)

    def _is_note_cut_short(self, name: str) -> bool:
        return temporary_of(name) in NOTES and is_plain(self._folder / name)

    def _is_begun(self, name: str) -> bool:
        return name == BEGUN and is_begun(self._folder / name)

    def _is_lock(self, name: str) -> bool:
        path = self._folder / name
        return name == LOCK and is_plain(path) and path.stat().st_size == 0


def check_utf8(folder: Path, place: str) -> None:
    """Raise `IndexPlaceError` for a path that cannot be given to LanceDB."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError as error:
        raise IndexPlaceError(
            f"There can be no index {place!r}: the path of its folder is not UTF-8. Choose another place.",
            param="store",
        ) from error


def make_folders(folder: Path) -> list[Path]:
    """Make the folder, for its owner alone, in folders that are made as usual. Returns those that were not there."""
    missing: list[Path] = []
    while not folder.exists():
        missing.insert(0, folder)
        folder = folder.parent
    made = []
    for each in missing:
        try:
            each.mkdir(PRIVATE_FOLDER if each is missing[-1] else 0o777)
            made.append(each)
        except FileExistsError:
            if not each.is_dir():
                raise
    return made


def is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def is_working_folder(folder: Path) -> bool:
    """Whether this is the process's working folder: a process without one fails in ways that nobody expects."""
    try:
        return folder.samefile(".")
    except FileNotFoundError:
        return False


def listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(name[:80] for name in names[:MOST_NAMED]) + more
