"""Tells which folders of data in an index's folder are Farthing's own, and makes and removes them.

A folder of data, with a name such as data-1, holds a LanceDB table and a file that says under which name Farthing made
the folder. Only such a folder is ever removed, and of it only what LanceDB and Farthing put there.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from farthing.core.errors import IndexPlaceError, UnreadableIndexError
from farthing.core.files import PRIVATE_FILE, PRIVATE_FOLDER
from farthing.toolkit.stores.lance.names import DATA
from farthing.toolkit.stores.lance.notes import read_note

TABLE = "passages"
TABLE_FOLDER = f"{TABLE}.lance"
MARK = "made-by-farthing.json"
# The entries of a table's folder: these, and all that begin with an underscore (_versions, _indices, ...).
TABLE_ENTRIES = ("data", "tree")
# The errors of removing a folder that is not empty, in use as a mount, or not ours to take out of its parent.
STAYS = {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL}


def make_data(folder: Path, place: str) -> None:
    """Make an empty folder of data, readable by its owner alone. Raises `IndexPlaceError` when something else is
    there."""
    try:
        folder.mkdir(PRIVATE_FOLDER)
    except FileExistsError as error:
        raise IndexPlaceError(
            f"{folder.name} of the index {place} is in the way: Farthing did not make it. Move it elsewhere.",
            param="store",
        ) from error
    descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(mark_of(folder.name))


def has_table(folder: Path, place: str) -> bool:
    """Whether the folder holds a table. Raises `UnreadableIndexError` when a part is a link: LanceDB would delete files
    there."""
    table = folder / TABLE_FOLDER
    parts = [folder, table, *(table.iterdir() if table.is_dir() else ())]
    links = [part for part in parts if part.is_symlink()]
    if links:
        raise UnreadableIndexError(
            f"{links[0].relative_to(folder.parent)} of the index {place} is a symbolic link, which is not followed. "
            "Put what it leads to in its place."
        )
    return table.is_dir()


def is_ours(folder: Path, place: str) -> bool:
    """Whether Farthing made this folder under this name."""
    if not DATA.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
        return False
    try:
        mark = read_note(folder / MARK, place)
    except UnreadableIndexError:  # so it is somebody else's
        return False
    if mark is None:  # as in the folders of the first versions
        return holds_a_table_alone(folder)
    is_begun = mark_of(folder.name).startswith(mark) and names_in(folder) == [MARK]  # its making was cut short
    return mark == mark_of(folder.name) or is_begun


def mark_of(name: str) -> str:
    return f'{{"data": "{name}"}}\n'


def holds_a_table_alone(folder: Path) -> bool:
    table = folder / TABLE_FOLDER
    if names_in(folder) != [TABLE_FOLDER] or table.is_symlink() or not table.is_dir():
        return False
    names = names_in(table)
    return "_versions" in names and all(map(is_table_entry, names))


def is_table_entry(name: str) -> bool:
    return name.startswith("_") or name in TABLE_ENTRIES


def remove_data(folder: Path) -> None:
    """Remove what LanceDB and Farthing put into a folder. What else is there stays, and the folder with it."""
    table = folder / TABLE_FOLDER
    if table.is_dir() and not table.is_symlink():
        for name in filter(is_table_entry, names_in(table)):
            remove_entry(table / name)
        remove_empty(table)
    if names_in(folder) == [MARK]:  # removed last: until then it says whose the rest is
        (folder / MARK).unlink()
    remove_empty(folder)


def remove_entry(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def remove_empty(folder: Path) -> bool:
    """Remove the folder if it is empty. Returns whether it is gone now."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno in STAYS:
            return False
        raise
    return True
