"""Where files lie, and how to write files that are there whole or not at all, even after the machine lost power."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from farthing.core.errors import SettingsError

FARTHING_CACHE = "~/.cache/farthing"  # where our own downloads and models are kept
LEAST_FREE_BYTES = 2**16  # a disk with less has no room for anything
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)


def cache_folder(given: str | None, default: str, variables: str) -> Path:
    """The absolute path of the folder for downloads.

    Args:
        given: the value of the setting cache_dir.
        default: the folder where nothing is given.
        variables: the variables that would change the default, for the message.

    Raises `SettingsError` where the folder lies in a home folder and there is none, as for a user of a container that
    only has a number.
    """
    folder = given or default
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(
            f"There is no home folder for {folder}: HOME is not set, and the system knows no home of this user. Set "
            f"{variables}, or give a folder for downloads with --cache-dir.",
            param="cache_dir",
        ) from error


def user_path(name: str) -> Path:
    """A path as its user wrote it, with ~ for the home folder; where there is none, ~ is a name like any other."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own fails then


def write_atomically(path: Path, write: Callable[[Path], object], *, private: bool = False) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`. When that fails, nothing is left.

    The temporary file has a name that was free, so that no other file is overwritten, nor a file that a link leads to.
    With `private`, nobody but the file's owner may read it. Raises `OSError`, with ENOSPC where the disk is full.
    """
    import secrets  # most processes write nothing

    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp")  # a name has 255 bytes at most
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE if private else 0o666))
    try:
        write(temporary)
        sync(temporary)
        move(temporary, path)
    except BaseException as error:
        # Some libraries say only that not everything was written.
        is_full = isinstance(error, OSError) and error.errno is None and is_disk_full(path.parent)
        temporary.unlink(missing_ok=True)
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def is_disk_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < LEAST_FREE_BYTES


def temporary_of(name: str) -> str | None:
    """The file that a killed process was writing, by the temporary name that it left; None for other names."""
    found = TEMPORARY.fullmatch(name)
    return found["name"] if found else None


class UnfitFileError(Exception):
    """A file may not be read; the text says why, in a phrase such as "it is no plain file"."""


def read_small(path: Path, max_bytes: int, *, follow_link: bool = True) -> str | None:
    """The text of a small file of ours, which somebody else may have written; None where there is none.

    Raises as `read_small_bytes` does, and `UnfitFileError` when the file is not UTF-8.
    """
    content = read_small_bytes(path, max_bytes, follow_link=follow_link)
    try:
        return None if content is None else content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnfitFileError("it is not UTF-8") from error


def read_small_bytes(path: Path, max_bytes: int, *, follow_link: bool = True) -> bytes | None:
    """The content of a small file; None where there is none.

    Raises:
        UnfitFileError: the file is larger, no plain file (a pipe would be waited for), or a link where none may be.
        OSError: the file cannot be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_link else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if not follow_link and path.is_symlink():
            raise UnfitFileError("it is a symbolic link") from error
        raise
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise UnfitFileError("it is no plain file")
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise UnfitFileError(f"it has {max(facts.st_size, len(content)):,} bytes, and at most {max_bytes:,} are read")
    return content


def move(source: Path, target: Path) -> None:
    """Rename within one file system, durably; an existing `target` is replaced."""
    source.replace(target)
    if os.name != "nt":  # Windows has no way to sync a folder
        sync_folder(target.parent)


def sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
