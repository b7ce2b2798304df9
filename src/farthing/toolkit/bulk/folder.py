"""The folder OUT.partial, which holds the finished chunks of a job until its output is assembled.

It holds job.json (the job's definition) and, for each chunk, files named by its range of rows: the chunk in the
output's format, the reasons why rows have no vector (if there are such rows), and 8-byte digests of all its rows, by
which the input is recognised when the job goes on. The digests are written last; once they are there, the chunk counts
as committed. Chunks are committed in order, so the finished rows are always the first rows of the input.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from farthing.core.errors import InputError, SettingsError
from farthing.core.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    UnfitFileError,
    move,
    read_small,
    sync,
    temporary_of,
    write_atomically,
)
from farthing.toolkit.bulk.definition import JobDefinition

DIGEST_BYTES = 8
DIGESTS_SUFFIX, LOST_SUFFIX = ".rows", ".lost"
# Suffix of the file beside the output that lists the rows without a vector.
LEFT_OUT = ".left-out.jsonl"
JOB, LOCK, ASSEMBLED = "job.json", "lock", "assembled"
# A prompt and an instruction may be long.
MAX_JOB_BYTES = 16 * 2**20
CHUNK = re.compile(r"([0-9]{12})-([0-9]{12})\.[a-z]+")


class StoredChunk(NamedTuple):
    """The committed rows `start` to `stop`: `data` holds their vectors (and records), `digests` their digests. `lost`,
    if that file exists, says why some of them have no vector."""

    start: int
    stop: int
    data: Path
    digests: Path
    lost: Path


class PartialFolder:
    """One process's hold on OUT.partial, as a context manager.

    Leaving it keeps the folder if it holds rows that were not published, and removes it otherwise. Only its owner can
    read the folder, because vectors reveal something of their texts. Files that no job wrote are never removed.

    Raises:
        SettingsError: on entering, when another process holds the folder or it holds files that no job wrote.
    """

    def __init__(self, output: Path, reword: Callable[[str], str] = str) -> None:
        self.output, self.reword = output, reword
        self.path = output.with_name(output.name + ".partial")
        self.left_out = output.with_name(output.name + LEFT_OUT)
        self.job_file = self.path / JOB
        self.lock = FileLock(self.path / LOCK, timeout=0, mode=PRIVATE_FILE)

    def __enter__(self) -> PartialFolder:
        self._make()
        try:
            self.lock.acquire()
        except Timeout as error:
            raise SettingsError(
                f"Another process is writing {self.output}. Wait until it ends, or choose another output.",
                param="output",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        keep = self.num_rows and not self.is_published
        if not keep:
            self.discard()
            Path(self.lock.lock_file).unlink()
        self.lock.release()
        if not keep and not any(self.path.iterdir()):
            self.path.rmdir()

    def _make(self) -> None:
        try:
            self.path.mkdir(PRIVATE_FOLDER)
            return
        except FileExistsError:
            is_folder = self.path.is_dir() and not self.path.is_symlink()
        foreign = (
            [path.name for path in self.path.iterdir() if not self._wrote(path)] if is_folder else [self.path.name]
        )
        if foreign:
            raise SettingsError(
                f"{self.path} is in the way: farthing embed keeps there what is done, and did not write "
                f"{sorted(foreign)[0][:80]}. Move it, or choose another output.",
                param="output",
            )

    def _wrote(self, path: Path) -> bool:
        """Whether a job may have written this file, judging by its name."""
        if path.is_symlink() or not path.is_file():
            return False
        name = (temporary_of(path.name) or path.name).removesuffix(".tmp")
        if name == LOCK:
            return path.stat().st_size == 0
        found = CHUNK.fullmatch(name)
        suffixes = (self.output.suffix, DIGESTS_SUFFIX, LOST_SUFFIX)
        return name in (JOB, self.assembled.name) or (found is not None and name.endswith(suffixes))

    # --- the job -------------------------------------------------------------------------------------------------

    def begin(self, definition: JobDefinition) -> None:
        """Take up the job that the folder holds, or start a new one.

        Raises:
            SettingsError: the folder holds rows of a different job, or has lost files.
        """
        different = self.differences(definition) if self.num_rows else []
        if different:
            raise SettingsError(
                f"{self.path} holds rows of a different job: {'; '.join(different)}. "
                "Give the same options to go on, or --restart to discard those rows.",
                param="output",
            )
        self.check_complete()
        self.write_job({"definition": asdict(definition)})

    def differences(self, definition: JobDefinition) -> list[str]:
        """Return how the job in the folder differs from `definition`, one phrase for each difference."""
        return definition.differences(self.read_job().get("definition", {}))

    def check_complete(self) -> None:
        position = 0
        for chunk in self.chunks():
            num_bytes = (chunk.stop - chunk.start) * DIGEST_BYTES
            if chunk.start != position or not chunk.data.is_file() or chunk.digests.stat().st_size != num_bytes:
                raise SettingsError(
                    f"{self.path} has lost files: rows from {position + 1:,} on are missing. "
                    "Start again with --restart.",
                    param="output",
                )
            position = chunk.stop

    def read_job(self) -> dict[str, dict[str, object]]:
        """Return the content of job.json, {} if there is no such file. Raises `SettingsError` if no job wrote it."""
        try:
            content = read_small(self.job_file, MAX_JOB_BYTES, follow_link=False)
            job = {} if content is None else json.loads(content)
        except (UnfitFileError, ValueError, RecursionError) as error:
            raise self._garbled() from error
        if not isinstance(job, dict) or not all(isinstance(part, dict) for part in job.values()):
            raise self._garbled()
        return job

    def _garbled(self) -> SettingsError:
        return SettingsError(
            f"{self.job_file} does not say what job it is of: it was cut off or written by something else. Start again "
            "with --restart.",
            param="output",
        )

    def write_job(self, job: dict[str, dict[str, object]]) -> None:
        write_atomically(self.job_file, lambda path: path.write_text(json.dumps(job, indent=1)))

    # --- chunks --------------------------------------------------------------------------------------------------

    def chunks(self) -> list[StoredChunk]:
        """Return the committed chunks, in order."""
        found = [CHUNK.fullmatch(path.name) for path in sorted(self.path.glob(f"*{DIGESTS_SUFFIX}"))]
        return [self.chunk(int(name[1]), int(name[2])) for name in found if name]

    @property
    def num_rows(self) -> int:
        chunks = self.chunks()
        return chunks[-1].stop if chunks else 0

    def chunk(self, start: int, stop: int) -> StoredChunk:
        name = f"{start:012d}-{stop:012d}"
        data, digests, lost = (self.path / (name + end) for end in (self.output.suffix, DIGESTS_SUFFIX, LOST_SUFFIX))
        return StoredChunk(start, stop, data, digests, lost)

    def commit(
        self,
        start: int,
        identities: Sequence[bytes],
        write: Callable[[Path], object],
        lost: Mapping[int, InputError],
    ) -> None:
        """Add the chunk of the rows from `start` on, which have these `identities`. `write` fills its data file.

        `lost` maps the index of each row without a vector to the reason.
        """
        chunk = self.chunk(start, start + len(identities))
        digests = b"".join(map(digest, identities))
        write_atomically(chunk.data, write)
        if lost:
            entries = ({"record": start + index + 1, "reason": self.reword(str(lost[index]))} for index in sorted(lost))
            lines = "".join(f"{json.dumps(entry)}\n" for entry in entries)
            write_atomically(chunk.lost, lambda path: path.write_text(lines))
        elif chunk.lost.exists():  # left by a run that stopped before it committed this chunk
            chunk.lost.unlink()
        write_atomically(chunk.digests, lambda path: path.write_bytes(digests))

    def lost(self) -> Iterator[str]:
        """Yield a line of JSON for each row without a vector: its number and the reason."""
        for chunk in self.chunks():
            if chunk.lost.is_file():
                with chunk.lost.open(encoding="utf-8") as file:
                    yield from file

    # --- the end -------------------------------------------------------------------------------------------------

    @property
    def is_published(self) -> bool:
        """Whether the output of this job is in its place already, and only the folder was not removed."""
        try:
            job = self.read_job()
        except SettingsError:  # reported when a job wants to go on with its rows
            return False
        return "published" in job and self.output.exists() and not self.assembled.exists()

    @property
    def assembled(self) -> Path:
        return self.path / (ASSEMBLED + self.output.suffix)

    def publish(self, assemble: Callable[[Path], object]) -> None:
        """Let `assemble` write the whole output, then publish the list of rows without a vector, and last the output.

        What is published replaces files of the same names.
        """
        assemble(self.assembled)
        sync(self.assembled)
        if next(self.lost(), None) is not None:
            write_atomically(self.left_out, self._write_lost)
        elif self.left_out.exists():
            self.left_out.unlink()
        self.write_job({**self.read_job(), "published": {}})
        move(self.assembled, self.output)

    def _write_lost(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(self.lost())

    def discard(self) -> None:
        """Remove the files that jobs wrote, except the lock.

        The last chunks go first and job.json goes last, so a removal that is cut short leaves the first rows of a job.
        """
        for path in sorted(self.path.iterdir(), key=lambda path: (path != self.job_file, path.name), reverse=True):
            if path.name != LOCK and self._wrote(path):
                path.unlink()


def digest(identity: bytes) -> bytes:
    return hashlib.blake2b(identity, digest_size=DIGEST_BYTES).digest()
