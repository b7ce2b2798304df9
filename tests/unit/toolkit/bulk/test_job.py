"""What a job writes, which rows end it, and where it may write."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from farthing import Embedder, embed_file
from farthing.core import files
from farthing.core.errors import DimensionsError, InputError, SettingsError
from farthing.core.settings import ServingSettings
from farthing.serving.request import EmbedRequest
from farthing.toolkit.bulk.folder import PartialFolder

RunJob = Callable[..., Path]
TEXTS = [f"text number {number}" for number in range(23)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def change_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")


# --- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_rows", [None, 1, 5, 23, 100])
def test_vectors_are_those_of_the_embedder(
    chunk_rows: int | None, run: RunJob, embedder: Embedder, source: Path, tmp_path: Path
) -> None:
    loaded = np.load(run(source, tmp_path / "out.npy", chunk_rows=chunk_rows))
    np.testing.assert_allclose(loaded, embedder.encode(TEXTS), atol=1e-5)
    assert not (tmp_path / "out.npy.partial").exists()


def test_a_job_can_be_had_from_python(embedder: Embedder, tiny_qwen3: Path, source: Path, tmp_path: Path) -> None:
    said: list[str] = []
    asked = {"prompt": "Find: ", "dimensions": 40, "context_length": 64}
    embed_file(str(tiny_qwen3), source, tmp_path / "out.npy", say=said.append, **asked)
    expected = embedder.encode(TEXTS, prompt="Find: ", dimensions=40)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)
    assert said[-1] == f"Wrote {tmp_path / 'out.npy'}: 23 rows."
    with pytest.raises(SettingsError, match="dimension_count"):
        embed_file(str(tiny_qwen3), source, tmp_path / "other.npy", dimension_count=40)


def test_what_is_asked_of_the_vectors_is_done(run: RunJob, embedder: Embedder, source: Path, tmp_path: Path) -> None:
    asked = {"prompt": "Find: ", "dimensions": 40, "normalize": False}
    loaded = np.load(run(source, tmp_path / "out.npy", request=EmbedRequest((), **asked)))
    np.testing.assert_allclose(loaded, embedder.encode(TEXTS, **asked), atol=1e-4)


def test_parquet_names_the_space_of_the_vectors_as_they_were_asked_for(
    run: RunJob, embedder: Embedder, source: Path, tmp_path: Path
) -> None:
    full = parquet.read_schema(run(source, tmp_path / "full.parquet")).metadata
    cut = parquet.read_schema(run(source, tmp_path / "cut.parquet", request=EmbedRequest((), dimensions=32))).metadata
    assert full[b"farthing.space"].decode() == embedder.space.id != cut[b"farthing.space"].decode()
    assert full[b"farthing.model"].decode() == embedder.model


@pytest.mark.parametrize("suffix", ["npy", "jsonl", "parquet"])
def test_every_input_format_goes_into_every_output_format(suffix: str, run: RunJob, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\nb\n")
    (tmp_path / "in.jsonl").write_text('{"text":"a"}\n{"text":"b"}\n')
    (tmp_path / "in.csv").write_text("text\na\nb\n")
    parquet.write_table(pyarrow.table({"text": ["a", "b"]}), tmp_path / "in.parquet")
    contents = set()
    for kind in ("txt", "jsonl", "csv", "parquet"):
        output = run(tmp_path / f"in.{kind}", tmp_path / f"{kind}.{suffix}")
        if suffix == "npy":
            contents.add(np.load(output).shape)
        else:
            rows = (
                parquet.read_table(output).to_pylist()
                if suffix == "parquet"
                else map(json.loads, output.read_text().splitlines())
            )
            contents.add(tuple((row["text"], len(row["embedding"])) for row in rows))
    assert contents == {(2, 64)} if suffix == "npy" else {(("a", 64), ("b", 64))}


# --- rows that fail --------------------------------------------------------------------------------------------------


def test_what_stands_before_a_bad_line_is_kept_and_the_job_goes_on_when_it_is_mended(
    run: RunJob, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = source.read_text().splitlines()[17]
    change_line(source, 18, '{"text": "open')
    with pytest.raises(InputError, match=r"Line 18 of in.jsonl is not valid JSON"):
        run(source, tmp_path / "out.npy", chunk_rows=4, strict=True)
    assert f"kept in {tmp_path}/out.npy.partial (17 rows). Give the same command to go on." in capsys.readouterr().err
    change_line(source, 18, good)
    assert np.load(run(source, tmp_path / "out.npy", strict=True)).shape == (23, 64)
    assert "Going on after 17 rows." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        ('{"text": "' + "long " * 100 + '"}', r"Line 11 of in.jsonl has \d+ tokens; .*--truncate", {"truncate": True}),
        ('{"text": " "}', "Line 11 of in.jsonl has 0 visible characters; .*short_text to zero", {"short_text": "zero"}),
        ('{"text": "\\udc00"}', "Line 11 of in.jsonl is not valid Unicode", None),
    ],
)
def test_a_text_that_cannot_be_embedded_is_named_by_its_line_and_the_remedy_helps(
    line: str,
    message: str,
    remedy: dict[str, object] | None,
    run: RunJob,
    source: Path,
    tiny_qwen3: Path,
    tmp_path: Path,
) -> None:
    change_line(source, 11, line)
    with pytest.raises(InputError, match=message):
        run(source, tmp_path / "out.npy", chunk_rows=4, strict=True)
    with PartialFolder(tmp_path / "out.npy") as folder:
        assert folder.num_rows == 10
    if remedy:
        serving = ServingSettings(**remedy)
        with Embedder(str(tiny_qwen3), context_length=64, **remedy) as other:
            run(source, tmp_path / "out.npy", serving=serving, opened=nullcontext(other), strict=True)
        assert np.load(tmp_path / "out.npy").shape == (23, 64)


BAD_LINES = {
    3: '{"text": "open',
    4: '{"title": "no text"}',
    9: '{"text": null}',
    10: '{"text": "' + "long " * 100 + '"}',
    11: '{"text": ""}',
    22: '{"text": "\\udc00"}',
}


@pytest.mark.parametrize("suffix", ["npy", "jsonl", "parquet"])
@pytest.mark.parametrize("chunk_rows", [2, 5, None])
def test_what_cannot_be_embedded_is_left_out_and_listed(
    suffix: str, chunk_rows: int | None, run: RunJob, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line, content in BAD_LINES.items():
        change_line(source, line, content)

    def reword(message: str) -> str:
        return message.replace("set short_text", "SET SHORT_TEXT")

    output = run(source, tmp_path / f"out.{suffix}", chunk_rows=chunk_rows, reword=reword)
    good = [number for number in range(23) if number + 1 not in BAD_LINES]
    if suffix == "npy":
        table = np.load(output)
        lengths = np.linalg.norm(table, axis=1)
        assert np.flatnonzero(lengths == 0).tolist() == [line - 1 for line in BAD_LINES]
        np.testing.assert_allclose(lengths[good], 1, atol=1e-5)
    elif suffix == "jsonl":
        assert [json.loads(line)["id"] for line in output.read_text().splitlines()] == good
    else:
        assert parquet.read_table(output)["id"].to_pylist() == good
    listed = [json.loads(line) for line in (tmp_path / f"out.{suffix}.left-out.jsonl").read_text().splitlines()]
    assert [entry["record"] for entry in listed] == list(BAD_LINES)
    assert all(entry["reason"].startswith(f"Line {entry['record']} of in.jsonl") for entry in listed)
    assert listed[4]["reason"].endswith("Leave it out, or SET SHORT_TEXT to zero (zero vectors) or embed.")
    shown = capsys.readouterr().err
    assert f"Wrote {output}: {23 if suffix == 'npy' else 17} rows." in shown
    assert "No vector for 6 records." in shown
    assert "the first: Line 3 of in.jsonl is not valid JSON" in shown


def test_vectors_beside_bad_records_are_those_of_the_embedder(
    run: RunJob, source: Path, embedder: Embedder, tmp_path: Path
) -> None:
    for line, content in BAD_LINES.items():
        change_line(source, line, content)
    table = np.load(run(source, tmp_path / "out.npy", chunk_rows=7))
    good = [number for number in range(23) if number + 1 not in BAD_LINES]
    np.testing.assert_allclose(table[good], embedder.encode([f"text number {number}" for number in good]), atol=1e-5)


def test_a_job_with_bad_records_goes_on_where_it_was_stopped(
    run: RunJob, source: Path, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line, content in BAD_LINES.items():
        change_line(source, line, content)
    real, calls = PartialFolder.commit, [0]

    def commit(self: PartialFolder, *given: object, **named: object) -> None:
        calls[0] += 1
        if calls[0] == 4:
            raise OSError("pulled plug")
        real(self, *given, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "commit", commit)
        with pytest.raises(OSError, match="pulled plug"):
            run(source, tmp_path / "out.jsonl", chunk_rows=4)
    output = run(source, tmp_path / "out.jsonl", chunk_rows=4)
    ids = [json.loads(line)["id"] for line in output.read_text().splitlines()]
    assert ids == [number for number in range(23) if number + 1 not in BAD_LINES]
    listed = (tmp_path / "out.jsonl.left-out.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"] for line in listed] == list(BAD_LINES)


def test_a_list_of_what_is_left_out_goes_when_all_is_mended(run: RunJob, source: Path, tmp_path: Path) -> None:
    good = source.read_text().splitlines()[4]
    change_line(source, 5, "{")
    run(source, tmp_path / "out.npy")
    assert (tmp_path / "out.npy.left-out.jsonl").is_file()
    change_line(source, 5, good)
    run(source, tmp_path / "out.npy", overwrite=True)
    assert names(tmp_path) == {"in.jsonl", "out.npy"}


def test_an_input_of_bad_records_alone_is_an_error_and_leaves_nothing(run: RunJob, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n \n\n")
    with pytest.raises(
        InputError, match=r"No record of .*in\.txt can be embedded\. The first: Line 1 of in\.txt has 0"
    ):
        run(tmp_path / "in.txt", tmp_path / "out.npy")
    assert names(tmp_path) == {"in.txt"}


def test_a_request_that_fails_leaves_nothing_behind(run: RunJob, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DimensionsError, match="this model has 1 to 64"):
        run(source, tmp_path / "out.npy", request=EmbedRequest((), dimensions=65))
    assert names(tmp_path) == {"in.jsonl"}


def test_cut_texts_and_warnings_are_counted_once(
    run: RunJob, tiny_qwen3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text(("long " * 100 + "\n") * 3 + "short\n")
    with Embedder(str(tiny_qwen3), context_length=64, truncate=True) as other:
        serving, request = ServingSettings(truncate=True), EmbedRequest((), dimensions=20)
        run(
            tmp_path / "in.txt",
            tmp_path / "o.npy",
            serving=serving,
            request=request,
            chunk_rows=1,
            opened=nullcontext(other),
        )
    shown = capsys.readouterr().err
    assert "Cut to the context length: 3 texts." in shown
    assert shown.count("Warning: 20 dimensions are below the 32") == 1


# --- the output's place ----------------------------------------------------------------------------------------------


def test_two_processes_cannot_write_one_output(run: RunJob, source: Path, tmp_path: Path) -> None:
    with PartialFolder(tmp_path / "out.npy"), pytest.raises(SettingsError, match="Another process is writing"):
        run(source, tmp_path / "out.npy")


def test_chunks_larger_than_a_request_are_refused(run: RunJob, source: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--chunk-rows is 9; at most 8"):
        run(source, tmp_path / "out.npy", chunk_rows=9, serving=ServingSettings(max_texts_per_request=8))


def test_a_full_disk_loses_nothing(run: RunJob, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("farthing.toolkit.bulk.folder.sync", full)
        with pytest.raises(OSError, match="No space left on device"):
            run(source, tmp_path / "out.npy", chunk_rows=8)
    assert files.sync is not full
    assert np.load(run(source, tmp_path / "out.npy")).shape == (23, 64)
