"""What a page in a browser can make of a server: nothing, unless the settings allow its origin."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.settings import AccessSettings, ServerSettings

KEY = "sk-of-the-pages-test"
EVIL = "https://evil.example"
FORM_TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None)
EMBED = ("POST", "/v1/embeddings", b'{"input": "a"}')
CHANGES = (
    EMBED,
    ("POST", "/tokenize", b'{"inputs": "a"}'),
    ("POST", "/", b'{"inputs": "a"}'),
    ("POST", "/v1/indexes", b'{"name": "of-a-page"}'),
    ("DELETE", "/v1/indexes/private", b""),
    ("POST", "/v1/indexes/private/documents", b'{"documents": [{"id": "a", "text": "a"}]}'),
    ("POST", "/v1/indexes/private/documents/delete", b'{"ids": ["salary"]}'),
    ("POST", "/v1/indexes/private/compact", b""),
    ("POST", "/v1/indexes/private/search", b'{"query": "salary"}'),
)


@pytest.fixture(scope="module")
def open_server(launch: Any, tiny_qwen3: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Without keys, with an index that holds a document."""
    settings = ServerSettings(index_folder=str(tmp_path_factory.mktemp("indexes")))
    with launch(tiny_qwen3, server=settings) as running, browser(running) as client:
        assert client.post("/v1/indexes", json={"name": "private"}).status_code == 200
        body = {"documents": [{"id": "salary", "text": "the salary of the king"}]}
        assert client.post("/v1/indexes/private/documents", json=body).status_code == 200
        yield client


@pytest.fixture(scope="module")
def allowing(launch: Any, tiny_qwen3: Path) -> Iterator[httpx.Client]:
    """Without keys, for some origins and names."""
    access = AccessSettings(
        cors_origins="https://app.example.org/, https://*.pages.example, http://localhost:*, app://obsidian.md, "
        "moz-extension://*, null",
        allowed_hosts="search.example.org, *.farm.example",
    )
    server = ServerSettings(host="listened.example.org")
    with launch(tiny_qwen3, access=access, server=server) as running, browser(running) as client:
        yield client


def browser(running: Any) -> httpx.Client:
    return httpx.Client(base_url=running.url, timeout=60)


def ask(client: httpx.Client, method: str, path: str, body: bytes = b"", **headers: str | None) -> httpx.Response:
    """`content_type=None` is for none at all."""
    sent = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    return client.request(method, path, content=body, headers=sent)


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


@pytest.mark.parametrize("content_type", FORM_TYPES)
@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_page_can_have_no_work_done_and_nothing_changed(
    open_server: httpx.Client, origin: str, content_type: str | None
) -> None:
    for method, path, body in CHANGES:
        answer = ask(open_server, method, path, body, origin=origin, content_type=content_type)
        assert answer.status_code == 403, path
        assert code(answer) == "origin_not_allowed"
        assert "--cors-origins" in answer.json()["error"]["message"]
        assert "access-control-allow-origin" not in answer.headers
    found = open_server.post("/v1/indexes/private/search", json={"query": "salary"}).json()["data"]
    assert [result["document"] for result in found] == ["salary"]
    assert len(open_server.get("/v1/indexes").json()["data"]) == 1


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_site_sends_without_an_origin_is_refused_but_for_links_to_pages(
    open_server: httpx.Client, site: str
) -> None:
    for method, path, body in CHANGES:
        assert ask(open_server, method, path, body, sec_fetch_site=site).status_code == 403
        navigating = {"sec_fetch_site": site, "sec_fetch_mode": "navigate"}
        assert ask(open_server, method, path, body, **navigating).status_code == 403
    for path in ("/v1/models", "/v1/indexes", "/metrics", "/health"):
        assert ask(open_server, "GET", path, sec_fetch_site=site, sec_fetch_mode="no-cors").status_code == 403
    for path in ("/", "/docs", "/openapi.json", "/health"):
        assert ask(open_server, "GET", path, sec_fetch_site=site, sec_fetch_mode="navigate").status_code == 200


def test_a_name_that_leads_here_by_rebinding_is_refused(open_server: httpx.Client) -> None:
    for host in (
        "attacker.example",
        "attacker.example:30000",
        "127.0.0.1.attacker.example",
        "localhost.attacker.example",
    ):
        for method, path, body in (*CHANGES, ("GET", "/v1/indexes", b""), ("GET", "/", b""), ("GET", "/health", b"")):
            answer = ask(open_server, method, path, body, host=host, origin=f"http://{host}")
            assert (answer.status_code, code(answer)) == (403, "host_not_allowed"), path
            assert "--allowed-hosts" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:30000", "a.localhost:1", "127.0.0.1", "127.9.9.9:5", "[::1]:30000", "192.168.1.5:30000",
     "10.1.2.3", "[2001:db8::1]", "farthing:30000", "farthing", "farthing.default.svc:80", "box.local",
     "farthing.default.svc.cluster.local", "host.docker.internal:30000", socket.gethostname()],
)  # fmt: skip
def test_addresses_and_names_that_are_not_public_are_answered(open_server: httpx.Client, host: str) -> None:
    assert ask(open_server, *EMBED, host=host).status_code == 200
    assert ask(open_server, *EMBED, host=host, origin=f"http://{host}").status_code == 200
    assert ask(open_server, *EMBED, host=host, sec_fetch_site="same-origin").status_code == 200


def test_programs_are_answered_whatever_content_type_they_send(open_server: httpx.Client) -> None:
    for content_type in (*FORM_TYPES, "application/json"):
        assert ask(open_server, *EMBED, content_type=content_type).status_code == 200
        assert ask(open_server, *EMBED, content_type=content_type, sec_fetch_site="none").status_code == 200


def test_an_origin_is_the_servers_own_by_host_and_port(open_server: httpx.Client) -> None:
    for host, origin, status in (
        ("localhost", "https://localhost", 200),
        ("localhost:443", "https://localhost", 200),
        ("localhost:80", "http://localhost", 200),
        ("localhost:443", "http://localhost", 403),
        ("localhost:30000", "http://localhost:3000", 403),
        ("localhost:30000", "http://127.0.0.1:30000", 403),
        ("[::1]:30000", "http://[::1]:30000", 200),
        ("localhost:30000", "evil://localhost:30000", 403),
    ):
        assert ask(open_server, *EMBED, host=host, origin=origin).status_code == status, (host, origin)


def raw(client: httpx.Client, head: bytes) -> int:
    url = client.base_url
    with socket.create_connection((url.host, url.port or 0), timeout=20) as connection:
        connection.sendall(head + b"\r\n")
        return int(connection.recv(65536).split(b" ", 2)[1])


@pytest.mark.parametrize("with_key", [False, True])
def test_http_1_1_wants_one_host(open_server: httpx.Client, launch: Any, tiny_qwen3: Path, with_key: bool) -> None:
    def check(running: httpx.Client) -> None:
        assert raw(running, b"GET /health HTTP/1.1\r\nHost: localhost\r\n") == 200
        assert raw(running, b"GET /health HTTP/1.1\r\n") == 400
        assert raw(running, b"GET /health HTTP/1.1\r\nHost:\r\n") == 400
        assert raw(running, b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n") == 400
        assert raw(running, b"GET /docs HTTP/1.1\r\nHost: [\r\n") == 400
        assert raw(running, b"GET /health HTTP/1.0\r\n") == 200
        two = b"Host: localhost\r\nOrigin: http://localhost\r\nOrigin: https://evil.example\r\n"
        assert raw(running, b"GET /v1/models HTTP/1.1\r\n" + two) == (401 if with_key else 400)

    if not with_key:
        check(open_server)
        return
    with launch(tiny_qwen3, access=AccessSettings(api_key=KEY)) as server, browser(server) as running:
        check(running)
        # A page does not know the key, so that any name and origin may send it.
        answer = ask(running, *EMBED, host="any.example", origin=EVIL, x_api_key=KEY, sec_fetch_site="cross-site")
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert ask(running, *EMBED, host="any.example", origin=EVIL).status_code == 401
        assert "location" not in ask(running, "GET", "/health/", host="evil.example").headers


@pytest.mark.parametrize(
    "host", ["search.example.org", "a.farm.example:80", "a.b.farm.example", "listened.example.org"]
)
def test_names_from_the_settings_are_answered(allowing: httpx.Client, host: str) -> None:
    assert ask(allowing, *EMBED, host=host).status_code == 200
    assert ask(allowing, *EMBED, host="other.example.org").status_code == 403


ALLOWED = ("https://app.example.org", "https://a.pages.example", "http://localhost:5173", "http://localhost",
           "app://obsidian.md", "moz-extension://0b2c1b52-26b6-4b6f-8a5e-5b3c3f1c9a3d", "null")  # fmt: skip
REFUSED = (EVIL, "https://pages.example", "http://app.example.org", "https://app.example.org:8443", "app://other",
           "chrome-extension://abc", "https://app.example.org.evil.example")  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_preflights_of_allowed_origins_are_answered_and_of_others_refused(allowing: httpx.Client, method: str) -> None:
    asking = {"access_control_request_method": method, "access_control_request_headers": "authorization, content-type"}
    private = asking | {"access_control_request_private_network": "true"}
    for origin in ALLOWED:
        answer = ask(allowing, "OPTIONS", "/v1/embeddings", origin=origin, **asking)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert method in answer.headers["access-control-allow-methods"]
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in answer.headers
        assert "access-control-allow-private-network" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        answer = ask(allowing, "OPTIONS", "/v1/embeddings", origin=origin, **private)
        assert (answer.status_code, answer.headers["access-control-allow-private-network"]) == (200, "true")
    for origin in REFUSED:
        answer = ask(allowing, "OPTIONS", "/v1/embeddings", origin=origin, **private)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_pages_of_allowed_origins_are_answered_and_may_read_it(allowing: httpx.Client) -> None:
    for origin in ALLOWED:
        for content_type in FORM_TYPES:
            sent = {"origin": origin, "sec_fetch_site": "cross-site", "content_type": content_type}
            answer = ask(allowing, *EMBED, **sent)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
            assert "access-control-allow-credentials" not in answer.headers
    for origin in REFUSED:
        assert ask(allowing, *EMBED, origin=origin).status_code == 403


def test_all_origins_may_be_allowed_and_then_names_are_still_looked_at(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, access=AccessSettings(cors_origins="*")) as server, browser(server) as running:
        for origin in (*ALLOWED, *REFUSED):
            answer = ask(running, *EMBED, origin=origin)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
            assert "access-control-allow-credentials" not in answer.headers
        asking = {"origin": EVIL, "access_control_request_method": "DELETE"}
        assert ask(running, "OPTIONS", "/v1/indexes/a", **asking).headers["access-control-allow-origin"] == "*"
        assert ask(running, *EMBED, origin=EVIL, host="evil.example").status_code == 403


def test_origins_are_allowed_with_keys_too(launch: Any, tiny_qwen3: Path) -> None:
    access = AccessSettings(api_key=KEY, cors_origins="app://obsidian.md,https://*.example.org")
    with launch(tiny_qwen3, access=access) as server, browser(server) as running:
        for origin in ("app://obsidian.md", "https://a.example.org"):
            asking = {"origin": origin, "access_control_request_method": "DELETE"}
            answer = ask(running, "OPTIONS", "/v1/indexes/a", **asking)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
            assert ask(running, *EMBED, origin=origin).status_code == 401
            answer = ask(running, *EMBED, origin=origin, x_api_key=KEY)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        answer = ask(running, "OPTIONS", "/v1/embeddings", origin=EVIL, access_control_request_method="POST")
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers
