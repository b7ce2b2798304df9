"""Log lines for people and for machines, and what is in none of them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

from starlette.types import Scope

from farthing.server.http.request_record import MAX_LOGGED_PATH, Exchange
from farthing.server.observe.logs import MAX_LOGGED_CHARS, MAX_LOGGED_TEXTS, AccessLine, JsonFormatter, LoggedTexts
from farthing.serving.request import Timings


def exchange(path: bytes = b"/v1/embeddings", **headers: str) -> Exchange:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: Scope = {"type": "http", "method": "POST", "headers": raw, "raw_path": path}
    found = Exchange.begin(scope)
    found.status = 200
    return found


def as_json(message: object, *args: object, **others: Any) -> dict[str, Any]:
    record = logging.LogRecord("farthing.test", logging.WARNING, "file.py", 1, message, args, others.get("exc_info"))
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry: dict[str, Any] = json.loads(line)
    return entry


def test_a_line_of_words_is_an_object_with_time_level_and_origin() -> None:
    entry = as_json("%d of %s", 3, "five\nsix")
    assert datetime.fromisoformat(entry.pop("ts")).tzinfo is not None
    assert entry == {"level": "warning", "logger": "farthing.test", "msg": "3 of five\nsix"}


def test_an_access_line_has_its_parts_as_fields() -> None:
    done = exchange(x_request_id="mine")
    done.note(key="team-a")
    done.note_work(2, 8, Timings())
    done.finish()
    entry = as_json(AccessLine(done))
    assert entry.pop("ms") >= 0
    del entry["ts"]
    assert entry == {
        "level": "warning", "logger": "farthing.test", "msg": "request", "method": "POST", "path": "/v1/embeddings",
        "status": 200, "key": "team-a", "texts": 2, "tokens": 8, "request_id": "mine",
    }  # fmt: skip
    assert str(AccessLine(done)).endswith(" key=team-a texts=2 tokens=8 id=mine")


def test_a_path_cannot_break_a_line_or_fill_the_log() -> None:
    line = str(AccessLine(exchange(b"/%0A" + b"x" * 10_000)))
    assert "\n" not in line
    assert len(line) < MAX_LOGGED_PATH + 100


def test_an_exception_stays_in_its_line() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        entry = as_json("failed", exc_info=sys.exc_info())
    assert entry["exception"].endswith("ValueError: wrong")


def test_logged_texts_are_cut_and_stay_in_their_line() -> None:
    sent = exchange(x_request_id="mine")
    sent.texts = ["x" * 5000, "line\nend \ud800", [1, 2], *["more"] * 1000]
    entry = as_json(LoggedTexts(sent))
    assert (entry["num_texts"], len(entry["texts"])) == (1003, MAX_LOGGED_TEXTS)
    assert entry["texts"][:3] == ["x" * MAX_LOGGED_CHARS, "line\nend \ud800", "[1, 2]"]
    assert "\n" not in str(LoggedTexts(sent))
    assert str(LoggedTexts(sent)).encode()  # no lone surrogate, which no file takes


def test_an_unusable_request_id_is_replaced() -> None:
    assert exchange(x_request_id="fine-1").request_id == "fine-1"
    for bad in ("", "two words", "x" * 129):
        assert len(exchange(x_request_id=bad).request_id) == 32
