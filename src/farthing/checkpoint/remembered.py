"""Fingerprints computed before, so that a model whose files did not change is not read again to know which it is.

In: the files that a fingerprint depends on. Out: the one that was kept for exactly these files, if their sizes, inodes
and times are those of then: what git asks of a file before it reads it again. The time of the last change (ctime)
cannot be set by programs, so a file that was replaced, or written to under its old date, is read anew. What was changed
within the last seconds is not kept, since a second change might bear the same time.

One small file for each model lies in the cache. Where there is no cache, fingerprints are computed every time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from farthing.core.errors import SettingsError
from farthing.core.files import FARTHING_CACHE, UnfitFileError, cache_folder, read_small, write_atomically

FOLDER = "fingerprints"
SETTLED_AFTER_S = 2.0
MAX_KEPT_BYTES = 256


def remembered(files: Sequence[Path], known: object, compute: Callable[[], str]) -> str:
    """The fingerprint of these files, computed unless it is kept.

    Args:
        known: what else it depends on, which JSON can write: the version of how it is computed, what was read before.

    Raises what `compute` raises.
    """
    try:
        kept_in = kept_file(files)
        facts, newest_s = state(files)
    except (OSError, SettingsError):  # `compute` says what is wrong with the files
        return compute()
    key = hashlib.sha256(json.dumps([known, facts], sort_keys=True).encode()).hexdigest()
    with contextlib.suppress(OSError, UnfitFileError):
        kept_key, _, fingerprint = (read_small(kept_in, MAX_KEPT_BYTES) or "").partition(" ")
        if kept_key == key:
            return fingerprint
    fingerprint = compute()
    if time.time() - newest_s > SETTLED_AFTER_S:
        with contextlib.suppress(OSError):  # a cache that cannot be written
            kept_in.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept_in, lambda file: file.write_text(f"{key} {fingerprint}"), private=True)
    return fingerprint


def kept_file(files: Sequence[Path]) -> Path:
    """Where the fingerprint of these files is kept. Raises `SettingsError` where there is no home folder."""
    names = "\n".join(str(file.absolute()) for file in files)
    folder = cache_folder(None, FARTHING_CACHE, "HOME") / FOLDER
    return folder / hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:32]


def state(files: Sequence[Path]) -> tuple[list[list[int]], float]:
    """What tells whether a file changed, for each file; and the newest of their times, in seconds.

    A file that is not there counts, too. Raises `OSError` for one that cannot be asked.
    """
    facts: list[list[int]] = []
    newest_ns = 0
    for file in files:
        try:
            found = file.stat()
        except FileNotFoundError:
            facts.append([])
            continue
        facts.append([found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns])
        newest_ns = max(newest_ns, found.st_mtime_ns, found.st_ctime_ns)
    return facts, newest_ns / 1e9
