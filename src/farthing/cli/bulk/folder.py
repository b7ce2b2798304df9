"""The folder OUT.partial, which holds what a job has done until its output is assembled.

It holds job.json (the job's definition), and for each chunk two files named by its range of rows: the chunk in the
output's format, and 8-byte digests of its rows, by which the input is recognised when the job goes on. The digests
are written last: with them the chunk counts as committed. Chunks are committed in order, so what is done is always
the first rows of the input.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from farthing.cli.bulk.definition import JobDefinition
from farthing.core.errors import SettingsError
from farthing.core.files import move, sync, write_atomically

DIGEST_BYTES = 8
DIGESTS_SUFFIX = ".rows"


class Chunk(NamedTuple):
    """Committed rows `start` to `stop`: the vectors (and records) in `data`, the rows' digests in `digests`."""

    start: int
    stop: int
    data: Path
    digests: Path


class PartialFolder:
    """One process's hold on OUT.partial, as a context manager.

    Leaving it keeps the folder while it holds rows that were not published, and removes it otherwise.

    Raises:
        SettingsError: on entering, another process holds it.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.path = output.with_name(output.name + ".partial")
        self.job_file = self.path / "job.json"
        self.lock = FileLock(self.path / "lock", timeout=0)

    def __enter__(self) -> PartialFolder:
        self.path.mkdir(exist_ok=True)
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
        self.lock.release()
        if not keep:
            shutil.rmtree(self.path)

    # --- the job -------------------------------------------------------------------------------------------------

    def begin(self, definition: JobDefinition) -> None:
        """Take up the job that is there, or start a new one.

        Raises:
            SettingsError: rows of a different job are there, or the folder has lost files.
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
        """What the job that is there has otherwise."""
        return definition.differences(self.read_job().get("definition", {}))

    def check_complete(self) -> None:
        position = 0
        for chunk in self.chunks():
            if chunk.start != position or not chunk.data.is_file():
                raise SettingsError(
                    f"{self.path} has lost files: rows from {position + 1:,} on are missing. "
                    "Start again with --restart.",
                    param="output",
                )
            position = chunk.stop

    def read_job(self) -> dict[str, dict[str, object]]:
        job: dict[str, dict[str, object]] = json.loads(self.job_file.read_text()) if self.job_file.is_file() else {}
        return job

    def write_job(self, job: dict[str, dict[str, object]]) -> None:
        write_atomically(self.job_file, lambda path: path.write_text(json.dumps(job, indent=1)))

    # --- chunks --------------------------------------------------------------------------------------------------

    def chunks(self) -> list[Chunk]:
        """The committed chunks, in order."""
        names = sorted(path.stem for path in self.path.glob(f"*{DIGESTS_SUFFIX}"))
        return [self.chunk(*map(int, name.split("-"))) for name in names]

    @property
    def num_rows(self) -> int:
        chunks = self.chunks()
        return chunks[-1].stop if chunks else 0

    def chunk(self, start: int, stop: int) -> Chunk:
        name = f"{start:012d}-{stop:012d}"
        return Chunk(start, stop, self.path / (name + self.output.suffix), self.path / (name + DIGESTS_SUFFIX))

    def commit(self, start: int, identities: Sequence[bytes], write: Callable[[Path], object]) -> None:
        """Add the chunk of the rows from `start` on, which have these `identities`; `write` fills its data file."""
        chunk = self.chunk(start, start + len(identities))
        digests = b"".join(map(digest, identities))
        write_atomically(chunk.data, write)
        write_atomically(chunk.digests, lambda path: path.write_bytes(digests))

    # --- the end -------------------------------------------------------------------------------------------------

    @property
    def is_published(self) -> bool:
        """The output of this job is in its place already; only the folder was not removed."""
        return "published" in self.read_job() and self.output.exists() and not self.assembled.exists()

    @property
    def assembled(self) -> Path:
        return self.path / ("assembled" + self.output.suffix)

    def publish(self, assemble: Callable[[Path], object]) -> None:
        """Let `assemble` write the whole output, and put it in its place."""
        assemble(self.assembled)
        sync(self.assembled)
        self.write_job({**self.read_job(), "published": {}})
        move(self.assembled, self.output)

    def discard(self) -> None:
        """Remove all but the lock. Cut short, it leaves the first rows of the job, and job.json until the end."""
        for path in sorted(self.path.iterdir(), key=lambda path: (path != self.job_file, path.name), reverse=True):
            if path != Path(self.lock.lock_file):
                path.unlink()


def digest(identity: bytes) -> bytes:
    return hashlib.blake2b(identity, digest_size=DIGEST_BYTES).digest()
