"""Documents of the files and folders that a user names.

A file of records (JSON Lines, CSV, Parquet) has a document a row, any other file is one. A folder is walked: files that
its .gitignore files name, hidden ones, and those of a kind that is not known to be text are left out, and counted.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.kinds import kind_of_file, suffix_of
from farthing.toolkit.documents.read_file import read_file
from farthing.toolkit.documents.read_records import LeftOut, RecordFields, read_records
from farthing.toolkit.extra import needed

RECORD_SUFFIXES = ("jsonl", "csv", "parquet")
STANDARD_INPUT = "-"
# Packages of others, and what programs leave behind; seldom meant when a folder of one's own is named.
SKIPPED_FOLDERS = {"node_modules", "__pycache__", "venv"}


@dataclass
class Inputs:
    """
    Args:
        names: files, folders, or "-" for standard input, which has JSON Lines unless `input_format` says otherwise.
        exclude: patterns as in a .gitignore of what in folders is left out too.
    """

    names: Sequence[str]
    fields: RecordFields = field(default_factory=RecordFields)
    input_format: str | None = None
    exclude: Sequence[str] = ()
    left_out: LeftOut = field(default_factory=LeftOut)
    # Of each name that was looked into, about how many documents it has.
    _estimates: dict[str, int | None] = field(default_factory=dict)

    @property
    def num_estimated(self) -> int | None:
        """About how many documents there are in all; None until that can be told."""
        known = [self._estimates.get(name) for name in self.names]
        return None if None in known else sum(filter(None, known))

    @property
    def folders(self) -> list[str]:
        """Those among the names, as the ids of their documents begin."""
        return [id_of(name) for name in self.names if name != STANDARD_INPUT and Path(name).is_dir()]

    def __iter__(self) -> Iterator[Document]:
        """
        Raises:
            InputError: a name is nothing, a row is broken, or a file that was named is not text.
            EmptyInputError: a file that was named, or everything, is empty.
        """
        self.check()
        is_empty = True
        for name in self.names:
            for document in self._documents(name):
                is_empty = False
                yield document
        if is_empty:
            raise EmptyInputError(f"No document was found in {', '.join(self.names)}.", param="input")

    def check(self) -> None:
        """Raises `InputError` for a name that is nothing; to be called before a model is loaded."""
        for name in self.names:
            if name != STANDARD_INPUT and not Path(name).exists():
                raise InputError(f"{name} does not exist; give files, folders, or - for standard input.", param="input")

    def _documents(self, name: str) -> Iterator[Document]:
        path = Path(name)
        if name != STANDARD_INPUT and path.is_dir():
            yield from self._of_folder(name)
        elif name == STANDARD_INPUT or self.input_format or suffix_of(name) in RECORD_SUFFIXES:
            given = self.input_format or ("jsonl" if name == STANDARD_INPUT else None)
            note = functools.partial(self._estimates.__setitem__, name)
            yield from read_records(name, given, self.fields, self.left_out, note)
        else:
            self._estimates[name] = 1
            yield read_file(path, id_of(name))

    def _of_folder(self, name: str) -> Iterator[Document]:
        paths = list(self._walk(Path(name), ()))
        self._estimates[name] = len(paths)
        for path in paths:
            if kind_of_file(path.name) is None:
                suffix = path.suffix.lower() or path.name
                self.left_out.suffixes[suffix] = self.left_out.suffixes.get(suffix, 0) + 1
                continue
            try:
                yield read_file(path, id_of(path))
            except EmptyInputError:
                pass  # an empty file in a folder, such as __init__.py, is no slip
            except InputError as error:
                self.left_out.files[str(path)] = str(error)

    def _walk(self, folder: Path, ignored: Sequence[tuple[Path, Any]]) -> Iterator[Path]:
        """Files in order of their names, those of a folder before those of its folders."""
        ignored = (*ignored, *self._patterns(folder, is_first=not ignored))
        entries = sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name))
        for path in entries:
            is_folder = path.is_dir()
            if path.name.startswith(".") or (is_folder and (path.name in SKIPPED_FOLDERS or path.is_symlink())):
                continue
            if is_ignored(path, ignored, is_folder=is_folder):
                continue
            if is_folder:
                yield from self._walk(path, ignored)
            elif path.is_file():
                yield path

    def _patterns(self, folder: Path, *, is_first: bool) -> Iterator[tuple[Path, Any]]:
        """The folder and a matcher of paths below it, for each list of patterns that holds there."""
        with needed("Reading folders"):
            from pathspec import GitIgnoreSpec
        if is_first and self.exclude:
            yield folder, GitIgnoreSpec.from_lines(self.exclude)
        file = folder / ".gitignore"
        if file.is_file():
            yield folder, GitIgnoreSpec.from_lines(file.read_text(encoding="utf-8", errors="replace").splitlines())


def id_of(path: str | Path) -> str:
    """The path as it was given, without what it could do without."""
    return Path(os.path.normpath(path)).as_posix()


def is_ignored(path: Path, ignored: Sequence[tuple[Path, Any]], *, is_folder: bool) -> bool:
    return any(
        patterns.match_file(path.relative_to(folder).as_posix() + ("/" if is_folder else ""))
        for folder, patterns in ignored
    )
