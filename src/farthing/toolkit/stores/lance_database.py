"""An index in a folder: a file for each note, a folder for each store."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from farthing.core.errors import SettingsError
from farthing.core.files import write_atomically
from farthing.toolkit.stores.lance_store import LanceStore
from farthing.toolkit.stores.writing import one_writer


class LanceDatabase:
    """
    Args:
        place: a folder; made when something is written to it.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._folder = Path(place).expanduser()
        if self._folder.exists() and not self._folder.is_dir():
            raise SettingsError(f"{place} is a file; an index is a folder.", param="store")

    def read(self, name: str) -> str | None:
        file = self._folder / f"{name}.json"
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def write(self, name: str, note: str | None) -> None:
        file = self._folder / f"{name}.json"
        if note is None:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, lambda path: path.write_text(note, encoding="utf-8"))

    def open(self, data: str, dimensions: int) -> LanceStore:
        return LanceStore(self._folder / data, dimensions)

    def drop(self, data: str) -> None:
        if (self._folder / data).exists():
            shutil.rmtree(self._folder / data)

    def writing(self) -> AbstractContextManager[None]:
        return one_writer(self._folder / "lock", self.place)

    def remove(self) -> None:
        shutil.rmtree(self._folder)
