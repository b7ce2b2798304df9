"""Texts that keep a parser busy, and a process that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farthing.core.errors import ClosedError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.splitting.split import Splitter, Splitting
from farthing.toolkit.documents.splitting.split_child import MAX_MEMORY_BYTES
from farthing.toolkit.documents.splitting.split_process import Sizes, SplitProcess, TooComplexError
from farthing.toolkit.documents.splitting.structure import MAX_NESTING, is_nested_deeply

SIZES = Sizes(64, 8, 64 * 32)
CODE = "\n\n\n".join(f"def f{number}(x):\n    return x + {number}\n" for number in range(60))
# Chevrons are not counted as nesting: they compare, too. Finding their structure takes minutes.
GENERICS = "A<" * 20_000 + "int" + ">" * 20_000
NESTED = {
    "javascript": "[" * 100_000 + "]" * 100_000,
    "cpp": GENERICS,
    "python": "(" * 30_000 + ")" * 30_000,
    "markdown": "\n".join(" " * depth + "- a" for depth in range(1500)),
}


def count(text: str) -> int:
    return max(1, len(text) // 4)


@pytest.fixture
def process() -> Iterator[SplitProcess]:
    opened = SplitProcess()
    yield opened
    opened.close()


def pid_of(process: SplitProcess) -> int:
    child = process._child
    assert child is not None
    return child.pid


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", NESTED)
def test_what_nests_too_deep_is_split_all_the_same(kind: str) -> None:
    text = NESTED[kind]
    with Splitter(Splitting(64, 8), count) as splitter:
        parts = splitter.split(Document("deep", text, kind=kind))
        assert splitter.num_plain == 1
        assert splitter.plain[0].startswith("document 'deep', since it")
        covered = {at for part in parts for at in range(part.start, part.start + len(part.text))}
        assert all(at in covered for at, letter in enumerate(text) if not letter.isspace())
        # What comes after it is split as ever.
        assert all(part.text.startswith("def ") for part in splitter.split(Document("b", CODE, kind="python")))
        assert splitter.num_plain == 1


@pytest.mark.parametrize(
    ("kind", "unit"), [("javascript", "["), ("python", "("), ("rust", "{"), ("markdown", ">"), ("markdown", "- ")]
)
def test_nesting_is_counted_in_brackets_quotes_and_lists(kind: str, unit: str) -> None:
    assert is_nested_deeply(kind, unit * (MAX_NESTING + 1))
    assert not is_nested_deeply(kind, "\n".join([unit * 20 + "x"] * 10) if kind == "markdown" else "f()[0]{}" * 2000)
    assert not is_nested_deeply("text", unit * 10_000)


def test_one_process_splits_all_documents(process: SplitProcess) -> None:
    first = process.pieces("python", CODE, SIZES, count)
    pid = pid_of(process)
    assert process.pieces("python", CODE, SIZES, count) == first
    assert all(CODE[start : start + len(piece)] == piece for start, piece in first)
    assert pid_of(process) == pid
    process.close()
    wait_until_gone(pid)


def test_a_process_that_was_killed_is_replaced(process: SplitProcess) -> None:
    process.pieces("python", CODE, SIZES, count)
    os.kill(pid_of(process), signal.SIGKILL)
    with pytest.raises(TooComplexError):
        process.pieces("python", CODE, SIZES, count)
    assert process.pieces("python", CODE, SIZES, count)


def test_the_kernel_ends_a_process_whose_document_takes_too_long(process: SplitProcess) -> None:
    with pytest.raises(TooComplexError, match="too much time or memory"):
        process.pieces("cpp", GENERICS, SIZES, count)
    assert process._child is None


def test_what_a_step_raises_ends_the_splitting_and_the_process() -> None:
    steps = []

    def step() -> None:
        steps.append(process._child.pid if process._child else 0)
        if len(steps) > 5:
            raise ClosedError("stop")

    process = SplitProcess(step)
    with pytest.raises(ClosedError):
        process.pieces("cpp", GENERICS, SIZES, count)
    wait_until_gone(steps[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_the_process_is_limited(process: SplitProcess) -> None:
    process.pieces("python", CODE, SIZES, count)
    limits = Path(f"/proc/{pid_of(process)}/limits").read_text().splitlines()
    assert next(line.split()[3] for line in limits if line.startswith("Max data size")) == str(MAX_MEMORY_BYTES)


def test_what_counting_raises_is_raised(process: SplitProcess) -> None:
    def count_badly(text: str) -> int:
        raise ValueError("no tokenizer")

    with pytest.raises(ValueError, match="no tokenizer"):
        process.pieces("python", CODE, SIZES, count_badly)
    assert process.pieces("python", CODE, SIZES, count)


@pytest.mark.parametrize("is_busy", [True, False])
def test_the_process_ends_with_its_parent(is_busy: bool) -> None:
    program = f"""
import time
from farthing.toolkit.documents.splitting.split_child import MAX_MEMORY_BYTES
from farthing.toolkit.documents.splitting.split_process import SplitProcess, Sizes
process = SplitProcess()
process.pieces("python", {CODE!r}, Sizes(64, 8, 2048), len)
print(process._child.pid, flush=True)
if {is_busy}:
    process.pieces("cpp", "A<" * 20_000 + "int" + ">" * 20_000, Sizes(64, 8, 2048), len)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until_gone(child)


def test_modules_are_not_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: SplitProcess
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the folder')")
    (tmp_path / "semantic_text_splitter.py").write_text("raise SystemExit('taken from the folder')")
    monkeypatch.chdir(tmp_path)
    assert process.pieces("python", CODE, SIZES, count)


def test_the_process_is_small() -> None:
    """It has neither torch nor what a server needs."""
    program = "import sys, farthing.toolkit.documents.splitting.split_child; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True).stdout
    assert not {"torch", "numpy", "tokenizers", "pydantic", "pyarrow"} & set(loaded.split())


@pytest.mark.parametrize("letter", ["a", "あ", "👩", "\u200b"])
def test_a_text_that_a_tokenizer_takes_for_one_word_does_not_become_many_times_as_long(letter: str) -> None:
    with Splitter(Splitting(248, 31), lambda _: 1) as splitter:
        parts = splitter.split(Document("a", letter * 20_000 + "."))
    assert sum(len(part.text) for part in parts) < 2 * 20_000
    assert max(len(part.text) for part in parts) < 248 * 33
