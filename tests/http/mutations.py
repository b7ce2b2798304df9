"""Good request bodies and heads made bad in a seeded way, as bytes."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

DEEP = 20_000
LONE_SURROGATE = "\ud800"
RAW_VALUES = (  # JSON, and what is nearly JSON
    *("null", "true", "false", "0", "-1", "1.5", "1e308", "1e999", "-0", "9" * 400, str(2**63), str(2**64)),
    *("NaN", "Infinity", "01", "0x10", "''", '""', '"\\u0000"', '"\\ud800"', '"\\ufeff"', '"\\u200b"', '"\x00"'),
    *("[]", "[[]]", "{}", "[null]", "[1, 2, 3]", '["a", 1]', '{"": ""}', '"' + "wide " * 2000 + '"'),
    *("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "[" + "1," * 3000 + "1]"),
)
ENCODINGS = ("utf-16", "utf-16-be", "utf-32", "utf-7", "utf-8-sig", "cp500", "latin-1")
HEADERS = (
    *("content-length", "content-type", "content-encoding", "transfer-encoding", "host", "connection", "upgrade"),
    *("expect", "authorization", "x-api-key", "x-priority", "x-request-timeout-ms", "x-request-id", "traceparent"),
    *("tracestate", "x-forwarded-for", "x-forwarded-proto", "accept", "accept-encoding", "origin", "range", "cookie"),
)
HEADER_VALUES = (
    *(b"", b" ", b"0", b"1", b"-1", b"+5", b"1e3", b"0x10", b"5, 5", b"5 5", b"9" * 25, b"9" * 5000, b"\xb2", b"\xff"),
    *(
        b"bulk",
        b"Bulk ",
        b"urgent",
        b"1ms",
        b"0.5",
        b"NaN",
        b"Bearer",
        b"Bearer ",
        b"Bearer \xe9",
        b"Basic !!",
        b"a" * 9000,
    ),
    *(
        b"chunked",
        b"chunked, chunked",
        b"gzip, chunked",
        b"identity",
        b"close",
        b"keep-alive, close",
        b"upgrade",
        b"h2c",
    ),
    *(
        b"websocket",
        b"100-continue",
        b"00-" + b"f" * 32 + b"-" + b"0" * 16 + b"-zz",
        b"00-0af7651916cd43dd8448eb211c80319c",
    ),
    *(
        b"a=b,,c==,=",
        b"[",
        b"[::1",
        b"a:b:c",
        b"a/b?c#d",
        b"a@b:99999",
        b"unknown, , ::ffff:1.2.3.4",
        b"'; drop --",
        b"*",
    ),
    *(
        b"text/html;q=x",
        b"application/openmetrics-text; version=9",
        b"%00%ff",
        b"\tx\t",
        b"a\x00b",
        b"a\rb",
        b"a\nb",
        b"a\r\n b",
    ),
)
LINES = (
    *(
        b"no colon",
        b": no name",
        b"sp ace: 1",
        b"\x00: 1",
        b"caf\xe9: 1",
        b" folded",
        b"a" * 5000,
        b"a: " + b"b" * 40_000,
    ),
)
TARGETS = (
    *(b"/", b"//", b"/%", b"/%zz", b"/%00", b"/\xff", b"/?\xff", b"/v1/embeddings/?\xff", b"/v1/models/?\xff=\xfe"),
    *(
        b"*",
        b"http://x/v1/embeddings",
        b"http://[/",
        b"../..",
        b"/v1/models/%2e%2e/%2f",
        b"/v1/models/%ed%a0%80",
        b"\\",
    ),
    *(b"/docs", b"/health", b"/metrics", b"/info", b"/api/tags", b"/v1/models", b"/" + b"a" * 9000),
)
METHODS = (
    b"GET",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"P OST",
    b"PRI",
    b"",
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with every key or index in it."""
    keys: Sequence[Any] = (
        list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from places(value[key])


def change_value(body: bytes, chance: random.Random) -> bytes:
    """A value of the body, at any depth, is another one; sometimes of JSON that Python would not write."""
    content = json.loads(body)
    holder, key = chance.choice(list(places(content)))
    holder[key] = "@@"
    return json.dumps(content).replace('"@@"', chance.choice(RAW_VALUES)).encode("utf-8", "surrogatepass")


def rename(body: bytes, chance: random.Random) -> bytes:
    content = json.loads(body)
    name = chance.choice(list(content))
    value = content.pop(name)
    if chance.random() < 0.7:
        content[chance.choice([name[:-1], name.upper(), "", "\x00", LONE_SURROGATE, name * 500])] = value
    return json.dumps(content).encode()


def repeat_key(body: bytes, chance: random.Random) -> bytes:
    name = chance.choice(list(json.loads(body)))
    again = f"{json.dumps(name)}: {chance.choice(RAW_VALUES)}".encode()
    return b"{" + again + b"," + body[1:] if chance.random() < 0.5 else body[:-1] + b"," + again + b"}"


def encode_otherwise(body: bytes, chance: random.Random) -> bytes:
    text = body.decode() + chance.choice(["", " ", "\x00", "\ufeff"])
    if chance.random() < 0.1:
        return gzip.compress(body, mtime=0)
    return text.encode(chance.choice(ENCODINGS), "ignore")


def surrogates(body: bytes, chance: random.Random) -> bytes:
    """A raw surrogate, a cut character, an overlong one, or a NUL inside the body."""
    cut = chance.randrange(len(body))
    return (
        body[:cut]
        + chance.choice([b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\xaf", b"\x00", b"\xef\xbb\xbf"])
        + body[cut:]
    )


def flip(body: bytes, chance: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body))]


def duplicate(body: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.choices(range(len(body) + 1), k=2))
    at = chance.randrange(len(body) + 1)
    return body[:at] + body[start:end] * chance.choice([1, 1, 50]) + body[at:]


STRUCTURED: tuple[Callable[[bytes, random.Random], bytes], ...] = (change_value, rename, repeat_key)
BYTEWISE: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    encode_otherwise,
    surrogates,
    flip,
    truncate,
    duplicate,
)


def mutated(good: dict[str, Any], chance: random.Random) -> bytes:
    """A body that was `good`: values changed in half of them, bytes in the other half, both in a few."""
    body = json.dumps(copy.deepcopy(good), ensure_ascii=False).encode()
    if chance.random() < 0.55:
        body = chance.choice(STRUCTURED)(body, chance)
        if chance.random() < 0.8:
            return body
    return chance.choice(BYTEWISE)(body, chance) if body else body


def request(path: str, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """The bytes of a POST."""
    lines = [b"POST %b HTTP/1.1" % path.encode(), b"host: test", b"content-length: %d" % len(body)]
    return b"\r\n".join([*lines, *(b"%b: %b" % header for header in headers), b"", body])


def chunked(path: str, body: bytes, chance: random.Random) -> bytes:
    """A POST in chunks, most of which say wrong things of themselves."""
    parts = []
    for start in range(0, len(body), 16):
        part = body[start : start + 16]
        size = chance.choice(
            [b"%x" % len(part)] * 9 + [b"%x" % (len(part) + 1), b"-1", b"zz", b"", b"f" * 20, b"5;x=y"]
        )
        parts.append(size + chance.choice([b"\r\n"] * 9 + [b"\n"]) + part + b"\r\n")
    end = chance.choice([b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0\r\n\x00\r\n\r\n", b"00000000\r\n\r\n", b""])
    head = b"POST %b HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n" % path.encode()
    return head + b"".join(parts) + end


def bad_head(path: str, body: bytes, chance: random.Random) -> bytes:
    """A request whose target, method, headers or lines are wrong, or are there twice."""
    target = chance.choice(TARGETS) if chance.random() < 0.25 else path.encode()
    method = chance.choice(METHODS) if chance.random() < 0.2 else b"POST"
    headers = [(b"host", b"test"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(HEADERS).encode()
        kept = headers if chance.random() < 0.4 else [header for header in headers if header[0] != name]
        headers = [*kept, (name, chance.choice(HEADER_VALUES))]
    lines = [b"%b: %b" % header for header in headers]
    if chance.random() < 0.1:
        lines.insert(chance.randrange(len(lines)), chance.choice(LINES))
    version = chance.choice([b"HTTP/1.1"] * 9 + [b"HTTP/1.0", b"HTTP/2", b"HTTP/9.9", b"", b"HTTPS/1.1"])
    return b"\r\n".join([method + b" " + target + b" " + version, *lines, b"", body])
