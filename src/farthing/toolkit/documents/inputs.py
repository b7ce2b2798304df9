"""Reads documents from the files and folders that a user names.

In a file of records (JSON Lines, CSV, Parquet) each row is a document; any other file is one document. A folder is
walked. Left out of it are files that its .gitignore files name, hidden files, and files of a kind that is not known to
be text, which are counted; also an index's own files, links to folders, and links to files that are added themselves. A
record or file that cannot be read is left out too, with the reason, and does not end the job.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from farthing.core.deferred import dataclass
from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.kinds import suffix_of
from farthing.toolkit.documents.reading.file import is_readable, read_file
from farthing.toolkit.documents.reading.records import LeftOut, RecordFields, check_records, read_records
from farthing.toolkit.optional import needed
from farthing.toolkit.records.packed import name_inside
from farthing.toolkit.records.reader import STANDARD_INPUT, is_stream
from farthing.toolkit.stores.lance.names import index_names

RECORD_SUFFIXES = ("jsonl", "csv", "tsv", "parquet")
# Folders of other people's packages, and of what programs leave behind: seldom meant when users name a folder of their
# own.
SKIPPED_FOLDERS = {"node_modules", "__pycache__", "venv"}


@dataclass
class Inputs:
    """
    Args:
        names: files, folders, or "-" for standard input, which holds JSON Lines unless `input_format` says otherwise.
        exclude: patterns, as in a .gitignore, of what else is left out of folders.
    """

    names: Sequence[str]
    fields: RecordFields = field(default_factory=RecordFields)
    input_format: str | None = None
    exclude: Sequence[str] = ()
    left_out: LeftOut = field(default_factory=LeftOut)
    # About how many documents each name has, once it was looked into.
    _estimates: dict[str, int | None] = field(default_factory=dict)
    # The files of each folder among the names, once it was walked, and the real paths of the files that are not links.
    _walked: dict[str, list[Path]] = field(default_factory=dict)
    _own: set[str] | None = None

    @property
    def num_estimated(self) -> int | None:
        """About how many documents there are in all; None until that can be told."""
        known = [self._estimates.get(name) for name in self.names]
        return None if None in known else sum(filter(None, known))

    @property
    def folders(self) -> list[str]:
        """The folders among the names, written as the ids of their documents begin."""
        return [id_of(name) for name in self.names if name != STANDARD_INPUT and Path(name).is_dir()]

    def __iter__(self) -> Iterator[Document]:
        """Read the documents, one after another.

        Raises:
            InputError: a name does not exist, a file of records has another format, or, where `left_out.records` is
                strict, something cannot be read.
            EmptyInputError: everything is empty, or was left out.
        """
        self.check()
        is_empty = True
        for name in self.names:
            for document in self._documents(name):
                is_empty = False
                yield document
        if is_empty:
            found = [*self.left_out.records.reasons, *self.left_out.files.values()]
            why = f" {found[0]}" if found else ""
            raise EmptyInputError(f"No document was found in {', '.join(map(id_of, self.names))}.{why}", param="input")

    def check(self) -> None:
        """Raise `InputError` for a name that does not exist, and for a file of records of which none can be read, for
        example because the text is in another field. Call this before a model is loaded."""
        for name in self.names:
            if name != STANDARD_INPUT and not Path(name).exists():
                raise InputError(f"{name} does not exist; give files, folders, or - for standard input.", param="input")
        for name in self.names:
            if not is_stream(name) and (self.input_format or is_records(name)):
                check_records(name, self.input_format, self.fields)

    def _documents(self, name: str) -> Iterator[Document]:
        path = Path(name)
        if name != STANDARD_INPUT and path.is_dir():
            yield from self._of_folder(name)
        elif name == STANDARD_INPUT or self.input_format or is_records(name):
            yield from self._of_records(name)
        else:
            self._estimates[name] = 1
            try:
                document = self._of_file(path)
            except OSError as error:
                self.left_out.records.add(unreadable(name, error))
            except InputError as error:
                self.left_out.records.add(error)
            else:
                yield document

    def _of_file(self, path: Path) -> Document:
        return read_file(path, id_of(path), functools.partial(self.left_out.guesses.__setitem__, id_of(path)))

    def _of_records(self, name: str) -> Iterator[Document]:
        given = self.input_format or ("jsonl" if name == STANDARD_INPUT else None)
        yield from read_records(
            name, given, self.fields, self.left_out, functools.partial(self._estimates.__setitem__, name)
        )

    def _of_folder(self, name: str) -> Iterator[Document]:
        paths = list(self._once(self._files_of(name)))
        self._estimates[name] = len(paths)
        for path in paths:
            try:
                if is_records(path.name):
                    yield from self._of_records(str(path))
                else:
                    yield self._of_file(path)
            except EmptyInputError:
                self._leave(path, None)  # an empty file such as __init__.py is no slip
            except OSError as error:
                self._leave(path, unreadable(str(path), error))
            except InputError as error:
                self._leave(path, error)

    def _files_of(self, name: str) -> list[Path]:
        """The files of a folder, which is walked only once."""
        if name not in self._walked:
            self._walked[name] = list(self._known(self._walk(Path(name), ())))
        return self._walked[name]

    def _once(self, paths: Sequence[Path]) -> Iterator[Path]:
        """The paths without links to files that are added anyway, under any of the names or through an earlier link."""
        for path in paths:
            if os.path.islink(path):  # noqa: PTH114 - Path's own raises where a folder may not be entered
                if self._own is None:
                    self._own = {os.path.realpath(own) for own in self._own_files()}
                target = os.path.realpath(path)
                if target in self._own:
                    self.left_out.num_linked += 1
                    continue
                self._own.add(target)
            yield path

    def _own_files(self) -> Iterator[str | Path]:
        """The names that are files, and the files in named folders that are not links."""
        for name in self.names:
            if name != STANDARD_INPUT and Path(name).is_dir():
                yield from (path for path in self._files_of(name) if not os.path.islink(path))  # noqa: PTH114
            elif name != STANDARD_INPUT:
                yield name

    def _known(self, paths: Iterable[Path]) -> Iterator[Path]:
        """The files that are known to be text; the others are counted."""
        for path in paths:
            if is_readable(path.name) or is_records(path.name):
                yield path
            else:
                suffix = Path(name_inside(path.name)).suffix.lower() or path.name
                self.left_out.suffixes[suffix] = self.left_out.suffixes.get(suffix, 0) + 1

    def _leave(self, path: Path, error: InputError | None) -> None:
        """Leave out a file or folder that is in a named folder. Raises the error when nothing may be left out."""
        if error is None:
            return
        if self.left_out.records.strict:
            raise error
        self.left_out.files[id_of(path)] = str(error)

    def _walk(self, folder: Path, ignored: Sequence[tuple[Path, Any]]) -> Iterator[Path]:
        """The files of a folder in the order of their names; a folder's files come before those of its subfolders."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: (is_folder(entry), entry.name))
            os.stat(f"{folder}/.")  # noqa: PTH116 - raises where names can be listed and nothing behind them be opened
        except OSError as error:
            self._leave(folder, unreadable(str(folder), error))
            return
        ignored = (*ignored, *self._patterns(folder, is_first=not ignored))
        of_index = index_names([entry.name for entry in entries])
        if of_index:
            self.left_out.indexes.append(id_of(folder))
        for entry in entries:
            path, has_more = Path(entry.path), is_folder(entry)
            if entry.name.startswith(".") or entry.name in of_index or (has_more and entry.name in SKIPPED_FOLDERS):
                continue
            if is_ignored(path, ignored, is_folder=has_more):
                continue
            if has_more and entry.is_symlink():
                self.left_out.links.append(id_of(path))
            elif has_more:
                yield from self._walk(path, ignored)
            elif self._is_file(entry):
                yield path

    def _is_file(self, entry: os.DirEntry[str]) -> bool:
        """Whether the entry is a file, and not a pipe, a socket or a link that leads nowhere. An entry whose target
        nobody may look at is left out."""
        try:
            return entry.is_file()
        except OSError as error:
            self._leave(Path(entry.path), unreadable(entry.path, error))
            return False

    def _patterns(self, folder: Path, *, is_first: bool) -> Iterator[tuple[Path, Any]]:
        """For each list of patterns that applies in a folder, that folder and a matcher of paths below it."""
        with needed("Reading folders"):
            from pathspec import GitIgnoreSpec
        if is_first and self.exclude:
            yield folder, GitIgnoreSpec.from_lines(self.exclude)
        file = folder / ".gitignore"
        try:
            content = file.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, IsADirectoryError):
            return
        except OSError as error:
            self._leave(file, unreadable(str(file), error))
            return
        yield folder, GitIgnoreSpec.from_lines(content.splitlines())


def is_records(name: str) -> bool:
    return suffix_of(name_inside(name)) in RECORD_SUFFIXES


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link whose target nobody may look at
        return False


def id_of(path: str | Path) -> str:
    """The path as it was given, without redundant parts. Bytes that are not UTF-8 are shown as \\xe9."""
    return os.fsencode(Path(os.path.normpath(path)).as_posix()).decode("utf-8", "backslashreplace")


def unreadable(name: str, error: OSError) -> InputError:
    return InputError(f"{id_of(name)} cannot be read: {error.strerror or error}.", param="input")


def is_ignored(path: Path, ignored: Sequence[tuple[Path, Any]], *, is_folder: bool) -> bool:
    return any(
        patterns.match_file(path.relative_to(folder).as_posix() + ("/" if is_folder else ""))
        for folder, patterns in ignored
    )
