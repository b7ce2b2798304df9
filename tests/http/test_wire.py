"""What clients do around a body: offers of other protocols, HEAD, compression, byte-order marks, slashes at the end."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.settings import ServerSettings

BODY = b'{"input": "a"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"5\r\n" + BODY[:5] + b"\r\n%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n\r\n"
OFFERS = [b"h2c", b"websocket", b"TLS/1.0", b"h2c, websocket"]
LIMIT = 64 * 1024

JAVA = """
import java.net.URI;
import java.net.http.*;
public class Ask {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int time = 0; time < 3; time++) {
            HttpRequest ask = HttpRequest.newBuilder(URI.create(args[0] + "/v1/embeddings"))
                .POST(HttpRequest.BodyPublishers.ofString("{\\"input\\": \\"a\\"}")).build();
            System.out.println(client.send(ask, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }
}
"""


def gzipped(content: bytes) -> bytes:
    """Without the time, which would make another name of a test in each process."""
    return gzip.compress(content, mtime=0)


@pytest.fixture(scope="module")
def tiny(launch: Any, tiny_qwen3: Path) -> Iterator[Any]:
    """A server that takes bodies of up to 64 KiB."""
    with launch(tiny_qwen3, server=ServerSettings(max_body_bytes=LIMIT)) as running:
        yield running


@pytest.fixture
def session(tiny: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=tiny.url, timeout=60) as opened:
        yield opened


def head(offer: bytes, framing: bytes, method: bytes = b"POST", path: bytes = b"/v1/embeddings") -> bytes:
    lines = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABk\r\n" % offer
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, path, framing, lines)


def answers(running: Any, parts: Sequence[bytes], number: int) -> list[bytes]:
    """Status lines of `number` answers to what is sent in `parts`, and of what more comes within a moment."""
    received = b""
    with socket.create_connection(running.address, timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02)
        while received.count(b"HTTP/1.1 ") < number:
            chunk = connection.recv(65536)
            assert chunk, received
            received += chunk
        connection.settimeout(0.3)
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            pass
    return [b"HTTP/1.1 " + answer[:3] for answer in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize(
    "parts",
    [
        lambda offer: [head(offer, LENGTH), BODY],
        lambda offer: [head(offer, LENGTH) + BODY],
        lambda offer: [head(offer, LENGTH)[:60], head(offer, LENGTH)[60:] + BODY[:4], BODY[4:]],
        lambda offer: [head(offer, CHUNKED), CHUNKS],
        lambda offer: [head(offer, CHUNKED) + CHUNKS[:7], CHUNKS[7:]],
    ],
    ids=["apart", "whole", "anywhere", "chunked", "chunked in parts"],
)
def test_an_offer_of_another_protocol_is_passed_over(tiny: Any, offer: bytes, parts: Any) -> None:
    assert answers(tiny, parts(offer), 1) == [b"HTTP/1.1 200"]


def test_requests_with_and_without_offers_follow_each_other(tiny: Any) -> None:
    ask = head(b"h2c", b"", b"GET", b"/v1/models") + head(b"h2c", LENGTH) + BODY
    plain = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\n%b\r\n%b" % (LENGTH, BODY)
    data = ask + plain + head(b"websocket", CHUNKED) + CHUNKS + ask + plain
    assert answers(tiny, [data], 7) == [b"HTTP/1.1 200"] * 7
    assert answers(tiny, [data[at : at + 3] for at in range(0, len(data), 3)], 7) == [b"HTTP/1.1 200"] * 7


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head(b"h2c", b"Content-Length: 99999999\r\n"), b"413"),
        (head(b"h2c", b"Content-Length: 0\r\n"), b"400"),
        (head(b"h2c", LENGTH + CHUNKED) + CHUNKS, b"400"),  # which of both frames the body is not guessed
        (head(b"h2c", LENGTH * 2) + BODY, b"400"),
        (head(b"h2c", b"Content-Length: +5\r\n") + BODY, b"400"),
        (head(b"h2c", CHUNKED) + b"zz\r\n", b"400"),
        (head(b"h2c", b"X: " + b"y" * 40_000 + b"\r\n") + BODY, b"431"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    ],
)
def test_an_offer_takes_no_limit_away(tiny: Any, request_: bytes, status: bytes) -> None:
    assert answers(tiny, [request_], 1) == [b"HTTP/1.1 " + status]


def test_curl_may_offer_http2(tiny: Any) -> None:
    curl = shutil.which("curl")
    if curl is None or "HTTP2" not in subprocess.run([curl, "-V"], capture_output=True, text=True).stdout:
        pytest.skip("there is no curl that knows HTTP/2 here")
    command = [curl, "-s", "--http2", "-d", BODY.decode(), f"{tiny.url}/v1/embeddings"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)["object"] == "list"


def test_javas_own_client_is_answered(tiny: Any, tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None or subprocess.run([java, "--list-modules"], capture_output=True).stdout.count(b"jdk.compiler") == 0:
        pytest.skip("there is no Java with a compiler here")
    (tmp_path / "Ask.java").write_text(JAVA)
    command = [java, str(tmp_path / "Ask.java"), tiny.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout.split(), done.returncode) == (["200"] * 3, 0), done.stderr


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/models", "/v1/models/test-model", "/api/tags", "/api/version", "/info", "/health", "/metrics", "/docs"],
)
def test_head_is_get_without_a_body(session: httpx.Client, path: str) -> None:
    whole, without = session.get(path), session.head(path)
    assert (without.status_code, without.content) == (200, b"")
    assert without.headers["content-type"] == whole.headers["content-type"]
    if path != "/metrics":
        assert without.headers["content-length"] == str(len(whole.content))
    assert session.get(path).status_code == 200  # on the same connection


def test_head_of_what_is_no_page(session: httpx.Client) -> None:
    assert session.head("/nothing").status_code == 404
    refused = session.head("/v1/embeddings")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert session.put("/").headers["allow"] == "GET, HEAD, POST"
    metrics = session.get("/metrics").text
    assert 'farthing_http_requests_total{route="/v1/models/{name:path}",status="200"}' in metrics


@pytest.mark.parametrize("path", ["/v1/embeddings/", "/embed/", "/api/embed/", "/v2/embed/"])
def test_a_slash_at_the_end_is_no_other_route(session: httpx.Client, path: str) -> None:
    body = {"/embed/": {"inputs": "a"}, "/v2/embed/": {"texts": ["a"]}}.get(path, {"input": "a"})
    assert session.post(path, json=body, headers={"x-forwarded-proto": "https"}).status_code == 200


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("Deflate", zlib.compress)]
)
@pytest.mark.parametrize("more", ["a", "some words " * 5000], ids=["short", "long"])
def test_compressed_bodies_are_unpacked(session: httpx.Client, coding: str, pack: Any, more: str) -> None:
    body = json.dumps({"metadata": more, "input": "a"}).encode()
    plain = session.post("/v1/embeddings", content=body).json()
    packed = pack(body)
    parts = [packed[at : at + 7] for at in range(0, len(packed), 7)]
    for content in (packed, iter(parts)):
        answer = session.post("/v1/embeddings", content=content, headers={"content-encoding": coding})
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"][0]["embedding"] == pytest.approx(plain["data"][0]["embedding"], abs=1e-6)


@pytest.mark.parametrize(
    ("content", "coding", "status", "part"),
    [
        (BODY, "identity", 200, ""),
        (BODY, "br", 415, "Content-Encoding is 'br'; this server unpacks gzip and deflate"),
        (gzipped(gzipped(BODY)), "gzip, gzip", 415, "unpacks gzip and deflate"),
        (BODY, "gzip\u00e9" + "x" * 500, 415, "unpacks gzip and deflate"),
        (BODY, "gzip", 400, "cannot be unpacked by its Content-Encoding"),
        (gzipped(BODY)[:-9], "gzip", 400, "ends before its compressed data does"),
        (gzipped(BODY)[:-4] + b"0000", "gzip", 400, "incorrect length check"),
        (gzipped(BODY) * 2, "gzip", 400, "goes on behind the end"),
        (gzipped(BODY) + b"x", "gzip", 400, "goes on behind the end"),
        (b"", "gzip", 400, "The request body is empty"),
        (gzipped(b""), "gzip", 400, "The request body is empty"),
        (gzipped(b" " * (LIMIT - len(BODY)) + BODY), "gzip", 200, ""),
        (gzipped(b" " * (LIMIT - len(BODY) + 1) + BODY), "gzip", 413, f"over {LIMIT} bytes"),
        (gzipped(b" " * 60_000_000), "gzip", 413, f"over {LIMIT} bytes"),
        (zlib.compress(b"[" * 60_000), "deflate", 400, "not valid JSON"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(
    session: httpx.Client, content: bytes, coding: str, status: int, part: str
) -> None:
    started = time.monotonic()
    headers = {"content-encoding": coding.encode("latin-1")}
    answer = session.post("/v1/embeddings", content=content, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    assert part in answer.text
    assert len(answer.text) < 600 or status == 200
    assert time.monotonic() - started < 20


def test_other_dialects_refuse_in_their_own_shape(session: httpx.Client) -> None:
    headers = {"content-encoding": "zstd"}
    assert set(session.post("/embed", content=b"x", headers=headers).json()) == {"error", "error_type"}
    assert set(session.post("/api/embed", content=b"x", headers=headers).json()) == {"error"}
    assert set(session.post("/v2/embed", content=b"x", headers=headers).json()) == {"message"}


def test_two_headers_of_codings_are_not_unpacked_twice(tiny: Any) -> None:
    packed = gzipped(gzipped(BODY))
    lines = b"Host: a\r\nContent-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n" % len(packed)
    data = b"POST /v1/embeddings HTTP/1.1\r\n" + lines + b"\r\n" + packed
    assert answers(tiny, [data], 1) == [b"HTTP/1.1 415"]


def test_a_byte_order_mark_is_no_part_of_the_json(session: httpx.Client) -> None:
    assert session.post("/v1/embeddings", content=b"\xef\xbb\xbf" + BODY).status_code == 200
    large = b"\xef\xbb\xbf" + BODY + b" " * 300
    assert session.post("/v1/embeddings", content=large).status_code == 200
    for text in ('{"input": "é"}'.encode("latin-1"), '{"input": "a"}'.encode("utf-16"), b'{"input": "\xc3'):
        answer = session.post("/v1/embeddings", content=text)
        assert answer.status_code == 400
        assert "is not UTF-8, as JSON has to be: byte 0x" in answer.text
    assert "not valid JSON" in session.post("/v1/embeddings", content=b"\xef\xbb\xbf").text
