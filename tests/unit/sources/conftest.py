"""A model hub and a package index of one wheel, both real servers or files on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from farthing.sources.wheel import StarterWheel

Files = Mapping[str, bytes]


def sha1(data: bytes) -> str:
    """A file's identity on the hub; any digest will do."""
    return hashlib.sha1(data).hexdigest()


class Hub(ThreadingHTTPServer):
    """The few endpoints that a snapshot download uses. `revisions[repo][name]` is the commit, `commits` its files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.revisions: dict[str, dict[str, str]] = {}
        self.commits: dict[str, Files] = {}
        self.gated: set[str] = set()
        self.broken: set[str] = set()  # files whose download is refused
        self.sign_in_page = False
        self.paths: list[str] = []

    def add(self, repo: str, commit: str, files: Files, *names: str) -> None:
        self.revisions.setdefault(repo, {}).update(dict.fromkeys((commit, *(names or ("main",))), commit))
        self.commits[commit] = files

    def fetched(self) -> set[str]:
        return {path.split("/resolve/")[1].partition("/")[2] for path in self.paths if "/resolve/" in path}


class HubHandler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.paths.append(path)
        if self.server.sign_in_page:
            self.reply(200, b"<html>Please sign in</html>", {"Content-Type": "text/html"})
        elif path.startswith("/api/models/"):
            self.api(path.removeprefix("/api/models/").split("/"))
        else:
            self.resolve(path)

    do_HEAD = do_GET

    def api(self, parts: list[str]) -> None:
        repo, verb, revision = "/".join(parts[:2]), *(parts[2:4] or ["revision", "main"])
        commit = self.server.revisions.get(repo, {}).get(revision)
        if repo not in self.server.revisions:
            self.refuse(404, "RepoNotFound")
        elif repo in self.server.gated:
            self.refuse(403, "GatedRepo")
        elif commit is None:
            self.refuse(404, "RevisionNotFound")
        elif verb == "tree":
            files = self.server.commits[commit].items()
            self.reply_json(
                [{"type": "file", "path": name, "size": len(data), "oid": sha1(data)} for name, data in files]
            )
        else:
            siblings = [{"rfilename": name} for name in self.server.commits[commit]]
            self.reply_json({"id": repo, "sha": commit, "siblings": siblings})

    def resolve(self, path: str) -> None:
        repo, _, rest = path[1:].partition("/resolve/")
        commit, _, name = rest.partition("/")
        data = self.server.commits[self.server.revisions[repo][commit]][name]
        if name in self.server.broken:
            self.refuse(403, "")
        else:
            self.reply(200, data, {"ETag": f'"{sha1(data)}"', "X-Repo-Commit": commit})

    def reply_json(self, content: object) -> None:
        self.reply(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str) -> None:
        self.reply(status, b"{}", {"X-Error-Code": code})

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def use_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT=url does to a new process."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    use_endpoint(monkeypatch, server.url)
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed_hub(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a hub that nothing listens at."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    use_endpoint(monkeypatch, url)
    return url


MODEL_FILES: Files = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": b"weights " * 4096,
    "tokenizer.json": b"{}",
    "modules.json": b"[]",
    "1_Pooling/config.json": b"{}",
    "sentence_bert_config.json": b"{}",
}
FOLDER = "tiny_wheel/models/tiny"
TINY = StarterWheel(
    requirement="tiny-wheel==1.0",
    folder=FOLDER,
    sha256={name: hashlib.sha256(data).hexdigest() for name, data in MODEL_FILES.items()},
)


@pytest.fixture
def tiny() -> StarterWheel:
    """The description of the wheel that `index` makes."""
    return TINY


@pytest.fixture
def model_files() -> Files:
    return MODEL_FILES


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make pip find nothing but a wheel with the given entries beside the model's files."""
    links = tmp_path / "links"
    links.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def make(files: Files = MODEL_FILES, extra: Files | None = None) -> Path:
        entries = {f"{FOLDER}/{name}": data for name, data in files.items()} | {
            "tiny_wheel/__init__.py": b"raise SystemExit('code of the wheel was run')",
            "tiny_wheel-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n",
            "tiny_wheel-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "tiny_wheel-1.0.dist-info/RECORD": b"",
        }
        path = links / "tiny_wheel-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**entries, **(extra or {})}.items():
                archive.writestr(name, data)
        return path

    return make
