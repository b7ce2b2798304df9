"""Jobs that were stopped: what they go on with, and what they refuse."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from farthing import Embedder
from farthing.core.errors import InputError, ModelNotFoundError, SettingsError
from farthing.serving.request import EmbedRequest
from farthing.toolkit.bulk.folder import PartialFolder

RunJob = Callable[..., Path]
TEXTS = [f"text number {number}" for number in range(23)]


class Stopped(BaseException):
    """Stands for the end of the process."""


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


def test_a_stopped_job_goes_on_where_it_stopped(
    run: RunJob, embedder: Embedder, source: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.testing.assert_allclose(np.load(run(source, stopped)), embedder.encode(TEXTS), atol=1e-5)
    shown = capsys.readouterr().err
    assert "Going on after 12 rows.\nEmbedded 11 rows in " in shown


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


def test_what_a_finished_job_left_behind_is_not_in_the_way_of_another(
    run: RunJob, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, other = tmp_path / "out.npy", EmbedRequest((), dimensions=32)
    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "__exit__", lambda self, *_: self.lock.release())
        run(source, output)
        with pytest.raises(SettingsError, match="exists already"):
            run(source, output, request=other)
    assert np.load(run(source, output, request=other, overwrite=True)).shape == (23, 32)


def test_a_restart_discards_nothing_before_the_model_is_there(run: RunJob, source: Path, stopped: Path) -> None:
    class Missing:
        def __enter__(self) -> Embedder:
            raise ModelNotFoundError("no such model")

        def __exit__(self, *_: object) -> None: ...

    with pytest.raises(ModelNotFoundError):
        run(source, stopped, restart=True, opened=Missing())
    with PartialFolder(stopped) as folder:
        assert folder.num_rows == 12


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


# --- whose folder it is -----------------------------------------------------------------------------------------------


def test_files_of_somebody_else_in_the_way_stop_a_job_and_stay(run: RunJob, source: Path, tmp_path: Path) -> None:
    partial = tmp_path / "out.npy.partial"
    for name in ("thesis.txt", "000000000000-000000000004.txt", "x.rows"):
        partial.mkdir()
        (partial / name).write_text("mine")
        for options in ({}, {"restart": True}, {"overwrite": True}):
            with pytest.raises(SettingsError, match=f"did not write {name}"):
                run(source, tmp_path / "out.npy", **options)
        assert names(partial) == {name}
        (partial / name).unlink()
        partial.rmdir()
    (partial).symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="in the way"):
        run(source, tmp_path / "out.npy")
    assert names(tmp_path) == {"out.npy.partial", source.name}


def test_files_that_are_put_beside_a_job_s_stay(run: RunJob, source: Path, tmp_path: Path, embedder: Embedder) -> None:
    partial = tmp_path / "out.npy.partial"

    class Opened:
        def __enter__(self) -> Embedder:
            (partial / "thesis.txt").write_text("mine")
            return embedder

        def __exit__(self, *_: object) -> None: ...

    run(source, tmp_path / "out.npy", opened=Opened())
    assert np.load(tmp_path / "out.npy").shape[0] == len(TEXTS)
    assert names(partial) == {"thesis.txt"}


def test_what_is_done_is_for_its_owner_alone(run: RunJob, source: Path, stopped: Path) -> None:
    before = os.umask(0o022)
    try:
        assert stopped.with_name("out.npy.partial").stat().st_mode & 0o077 == 0
        run(source, stopped)
        assert stopped.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[]", b'{"definition": 1}', b"[" * 100_000, b" " * (2**24 + 1)], ids=range(6)
)
def test_a_garbled_description_of_a_job_is_said_and_can_be_started_over(
    run: RunJob, source: Path, stopped: Path, content: bytes
) -> None:
    (stopped.with_name("out.npy.partial") / "job.json").write_bytes(content)
    with pytest.raises(SettingsError, match=r"job\.json does not say what job it is of.*--restart"):
        run(source, stopped)
    assert len(list(stopped.with_name("out.npy.partial").glob("*.rows"))) == 3
    run(source, stopped, restart=True)
    assert np.load(stopped).shape[0] == len(TEXTS)


def test_digests_that_are_cut_off_count_as_lost(run: RunJob, source: Path, stopped: Path) -> None:
    file = next(stopped.with_name("out.npy.partial").glob("*4-*8.rows"))
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(SettingsError, match="has lost files: rows from 5 on"):
        run(source, stopped)
