"""What a process holds in memory, in GiB: its own pages, pages of files, and the most of both together so far."""

from __future__ import annotations

import os
import threading
from pathlib import Path

GIB = 2**30
FIELDS = {"RssAnon": "own", "RssFile": "files", "VmHWM": "peak"}


def memory_gib() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    held = dict(line.split(":", 1) for line in lines)
    return {name: round(int(held[field].split()[0]) * 1024 / GIB, 2) for field, name in FIELDS.items()}


def forget_files(folder: Path, *, and_all_others: bool) -> None:
    """Drops what the kernel keeps of the files in a folder, or of all files. Pages not yet written stay.

    Raises `PermissionError` where dropping all is not allowed.
    """
    if and_all_others:
        Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
        return
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class PeakMemory:
    """The most of its own pages that the process had while this was open (`VmHWM` counts pages of files too)."""

    def __init__(self, every_s: float = 0.05) -> None:
        self.gib = 0.0
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self._every_s):
            self.gib = max(self.gib, memory_gib()["own"])
