from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from farthing import Embedder
from farthing.cli.bulk import files
from farthing.cli.bulk.folder import PartialFolder
from farthing.core.errors import DimensionsError, InputError, SettingsError
from farthing.core.settings import ServingSettings
from farthing.serving.request import EmbedRequest

RunJob = Callable[..., Path]
TEXTS = [f"text number {number}" for number in range(23)]


class Stopped(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(TEXTS)))
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def change_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")


def stop_after(commits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every further job end when it has committed that many chunks."""
    commit = PartialFolder.commit
    done = []

    def commit_or_stop(self: PartialFolder, *args: object) -> None:
        if len(done) == commits:
            raise Stopped
        commit(self, *args)
        done.append(True)

    monkeypatch.setattr(PartialFolder, "commit", commit_or_stop)


@pytest.fixture
def stopped(run: RunJob, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a job that was stopped with three chunks of four rows done."""
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Stopped):
            run(source, tmp_path / "out.npy", chunk_rows=4)
    assert len(list((tmp_path / "out.npy.partial").glob("*.rows"))) == 3
    return tmp_path / "out.npy"


# --- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_rows", [None, 1, 5, 23, 100])
def test_vectors_are_those_of_the_embedder(
    chunk_rows: int | None, run: RunJob, embedder: Embedder, source: Path, tmp_path: Path
) -> None:
    loaded = np.load(run(source, tmp_path / "out.npy", chunk_rows=chunk_rows))
    np.testing.assert_allclose(loaded, embedder.encode(TEXTS), atol=1e-5)
    assert not (tmp_path / "out.npy.partial").exists()


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
        run(source, tmp_path / "out.npy", chunk_rows=4)
    assert f"kept in {tmp_path}/out.npy.partial (16 rows). Give the same command to go on." in capsys.readouterr().err
    change_line(source, 18, good)
    assert np.load(run(source, tmp_path / "out.npy")).shape == (23, 64)
    assert "Going on after 16 rows." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        ('{"text": "' + "long " * 100 + '"}', r"Line 11 of in.jsonl has \d+ tokens; .*--truncate", {"truncate": True}),
        ('{"text": " "}', "Line 11 of in.jsonl has 0 visible characters; .*--short-text zero", {"short_text": "zero"}),
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
        run(source, tmp_path / "out.npy", chunk_rows=4)
    with PartialFolder(tmp_path / "out.npy") as folder:
        assert folder.num_rows == 8
    if remedy:
        serving = ServingSettings(**remedy)
        with Embedder(str(tiny_qwen3), context_length=64, **remedy) as other:
            run(source, tmp_path / "out.npy", serving=serving, embedder=other)
        assert np.load(tmp_path / "out.npy").shape == (23, 64)


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
        run(tmp_path / "in.txt", tmp_path / "o.npy", serving=serving, request=request, chunk_rows=1, embedder=other)
    shown = capsys.readouterr().err
    assert "Cut to the context length: 3 texts." in shown
    assert shown.count("Warning: 20 dimensions are below the 32") == 1


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_stopped_job_goes_on_where_it_stopped(run: RunJob, embedder: Embedder, source: Path, stopped: Path) -> None:
    before = embedder.stats().texts_total
    np.testing.assert_allclose(np.load(run(source, stopped)), embedder.encode(TEXTS), atol=1e-5)
    assert embedder.stats().texts_total - before == len(TEXTS) - 12 + len(TEXTS)


def test_rows_that_were_added_meanwhile_are_embedded_too(run: RunJob, source: Path, stopped: Path) -> None:
    with source.open("a") as file:
        file.write('{"text": "one more"}\n')
    assert len(np.load(run(source, stopped))) == len(TEXTS) + 1


def test_a_row_that_changed_is_named(run: RunJob, source: Path, stopped: Path) -> None:
    change_line(source, 7, '{"id": 6, "text": "other"}')
    with pytest.raises(InputError, match=r"Line 7 of in.jsonl is not what it was, .*--restart"):
        run(source, stopped)


def test_an_input_that_lost_rows_is_refused(run: RunJob, source: Path, stopped: Path) -> None:
    source.write_text("".join(source.read_text().splitlines(keepends=True)[:10]))
    with pytest.raises(InputError, match=r"The input now ends after row 10, .*--restart"):
        run(source, stopped)


def test_another_job_does_not_go_on_and_says_why(run: RunJob, source: Path, stopped: Path) -> None:
    with pytest.raises(SettingsError, match=r"a different job: dimensions was 64 and is now 32. .*--restart"):
        run(source, stopped, request=EmbedRequest((), dimensions=32))


def test_restart_discards_what_was_done(run: RunJob, source: Path, stopped: Path) -> None:
    change_line(source, 7, '{"id": 6, "text": "other"}')
    assert np.load(run(source, stopped, restart=True, request=EmbedRequest((), dimensions=32))).shape == (23, 32)


def test_lost_files_are_noticed(run: RunJob, source: Path, stopped: Path) -> None:
    next(stopped.with_name("out.npy.partial").glob("*4-*8.npy")).unlink()
    with pytest.raises(SettingsError, match=r"has lost files: rows from 5 on are missing. .*--restart"):
        run(source, stopped)


def test_a_job_that_ended_between_publishing_and_cleaning_up_counts_as_finished(
    run: RunJob, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.npy"
    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "__exit__", lambda self, *_: self.lock.release())
        run(source, output)
    run(source, output)
    assert "was finished by an earlier run" in capsys.readouterr().err
    assert not output.with_name("out.npy.partial").exists()
    with pytest.raises(SettingsError, match="exists already"):
        run(source, output)


def stop_removing(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink, removed = Path.unlink, []

    def unlink_or_stop(self: Path) -> None:
        if len(removed) == files:
            raise Stopped
        unlink(self)
        removed.append(self)

    monkeypatch.setattr(Path, "unlink", unlink_or_stop)


@pytest.mark.parametrize("removed", range(7))
def test_a_restart_that_was_stopped_while_discarding_loses_no_row(
    removed: int, run: RunJob, embedder: Embedder, source: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_removing(removed, patch)
        with pytest.raises(Stopped):
            run(source, stopped, restart=True)
    np.testing.assert_allclose(np.load(run(source, stopped)), embedder.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("removed", [0, 3, 6, 12])
def test_a_job_that_was_stopped_while_cleaning_up_is_finished(
    removed: int, run: RunJob, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_removing(removed, patch)
        with pytest.raises(Stopped):
            run(source, tmp_path / "out.npy", chunk_rows=4)
    written = (tmp_path / "out.npy").stat().st_mtime_ns
    run(source, tmp_path / "out.npy")
    assert (tmp_path / "out.npy").stat().st_mtime_ns == written
    assert names(tmp_path) == {"in.jsonl", "out.npy"}


# --- the output's place ----------------------------------------------------------------------------------------------


def test_an_existing_output_is_replaced_only_when_asked_and_only_at_the_end(
    run: RunJob, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.npy"
    output.write_text("mine")
    with pytest.raises(SettingsError, match=r"exists already. .*--overwrite"):
        run(source, output)
    assert names(tmp_path) == {"in.jsonl", "out.npy"}
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Stopped):
            run(source, output, overwrite=True, chunk_rows=4)
    assert output.read_text() == "mine"
    assert np.load(run(source, output, overwrite=True)).shape == (23, 64)


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
        patch.setattr("farthing.cli.bulk.folder.sync", full)
        with pytest.raises(OSError, match="No space left on device"):
            run(source, tmp_path / "out.npy", chunk_rows=8)
    assert files.sync is not full
    assert np.load(run(source, tmp_path / "out.npy")).shape == (23, 64)
