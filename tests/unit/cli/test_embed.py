from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from farthing import Embedder
from farthing.cli.embed import embed
from farthing.core.errors import EmptyInputError, InputError, SettingsError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text('{"title": "a", "text": "first text"}\n{"title": "b", "text": "second"}\n')
    return path


def invoke(*args: object, input: str | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(embed, list(map(str, args)), input=input, env=env)


def test_embed_writes_the_vectors_and_says_so(tiny_qwen3: Path, source: Path, tmp_path: Path) -> None:
    result = invoke(tiny_qwen3, source, "-o", tmp_path / "out.npy")
    assert result.exception is None
    assert result.stdout == ""
    assert result.stderr.splitlines()[0].startswith("Embedded 2 rows in ")
    assert result.stderr.splitlines()[1] == f"Wrote {tmp_path / 'out.npy'}: 2 rows."
    with Embedder(str(tiny_qwen3)) as embedder:
        expected = embedder.encode(["first text", "second"])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


def test_every_option_of_the_request_counts(tiny_qwen3: Path, source: Path, tmp_path: Path) -> None:
    request = ["--instruction", "Find", "--input-type", "query", "--dimensions", 32, "--no-normalize"]
    result = invoke(tiny_qwen3, source, "-o", tmp_path / "out.npy", "--field", "title", *request)
    assert result.exception is None
    with Embedder(str(tiny_qwen3)) as embedder:
        expected = embedder.encode(["a", "b"], instruction="Find", input_type="query", dimensions=32, normalize=False)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-4)


def test_settings_come_from_flags_and_environment(tiny_qwen3: Path, source: Path, tmp_path: Path) -> None:
    args = (tiny_qwen3, source, "-o", tmp_path / "out.npy")
    short = invoke(*args, "--min-chars", 7, "--strict")
    assert isinstance(short.exception, InputError)
    assert "Line 2 of in.jsonl has 6 visible characters; at least 7 are needed" in str(short.exception)
    assert invoke(*args, "--min-chars", 7, env={"FARTHING_SHORT_TEXT": "zero"}).exception is None
    assert np.load(tmp_path / "out.npy").any(axis=1).tolist() == [True, False]


def test_standard_input_is_read(tiny_qwen3: Path, tmp_path: Path) -> None:
    assert invoke(tiny_qwen3, "-", "-o", tmp_path / "out.jsonl", input="one\ntwo\n").exception is None
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["text"], len(row["embedding"])) for row in rows] == [("one", 64), ("two", 64)]


def test_a_bar_is_drawn_only_when_asked_or_on_a_terminal(tiny_qwen3: Path, source: Path, tmp_path: Path) -> None:
    args = (tiny_qwen3, source, "-o", tmp_path / "out.npy")
    assert "%|" not in invoke(*args).stderr
    assert "2/2 [" in invoke(*args, "--overwrite", "--progress").stderr


def test_a_wrong_place_is_told_before_the_model_is_looked_for(source: Path, tmp_path: Path) -> None:
    for input, output in ((tmp_path / "no.txt", "out.npy"), (source, "out.bin"), (source, "in.jsonl")):
        result = invoke("/no/such/model", input, "-o", tmp_path / output)
        assert isinstance(result.exception, (InputError, SettingsError)), output


def test_vectors_are_printed_where_that_is_wanted(tiny_qwen3: Path, source: Path, tmp_path: Path) -> None:
    result = invoke(tiny_qwen3, source, "-o", "-")
    assert result.exception is None, result.output
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["title"], row["text"]) for row in printed] == [("a", "first text"), ("b", "second")]
    invoke(tiny_qwen3, source, "-o", tmp_path / "out.jsonl")
    assert result.stdout == (tmp_path / "out.jsonl").read_text()
    assert invoke(tiny_qwen3, "-", "-o", "-", input="first text\n").stdout.startswith(
        '{"text": "first text", "embedding"'
    )
    assert not list(tmp_path.glob("*.partial"))


def test_without_an_output_it_is_said_what_there_is(tiny_qwen3: Path, source: Path) -> None:
    result = invoke(tiny_qwen3, source)
    assert (result.exit_code, "-o FILE, or -o - to print them" in result.stderr) == (2, True)


def test_a_row_that_cannot_be_printed_is_named(tiny_qwen3: Path) -> None:
    result = invoke(tiny_qwen3, "-", "-o", "-", "--min-chars", 3, input="one\nx\ntwo\n")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["one", "two"]
    assert "Left out: Line 2 of standard input has 1 visible characters" in result.stderr
    strict = invoke(tiny_qwen3, "-", "-o", "-", "--min-chars", 3, "--strict", input="one\nx\ntwo\n")
    assert [json.loads(line)["text"] for line in strict.stdout.splitlines()] == ["one"]
    assert "Line 2 of standard input has 1 visible characters" in str(strict.exception)
    assert isinstance(invoke(tiny_qwen3, "-", "-o", "-", input="\n \n").exception, EmptyInputError)


def test_pipes_and_devices_are_inputs_too(tiny_qwen3: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("one\ntwo\n",))
    writer.start()
    result = invoke(tiny_qwen3, tmp_path / "pipe", "-o", "-")
    writer.join()
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["one", "two"]
    assert isinstance(invoke(tiny_qwen3, "/dev/null", "-o", "-").exception, EmptyInputError)
    assert "Parquet cannot be read from standard input or a pipe" in str(
        invoke(tiny_qwen3, "/dev/null", "-o", "-", "--input-format", "parquet").exception
    )
    command = [sys.executable, "-m", "farthing", "embed", str(tiny_qwen3), "/dev/stdin", "-o", "-"]
    done = subprocess.run(command, input=b"three\n", capture_output=True, check=True, timeout=120)
    assert json.loads(done.stdout)["text"] == "three"
