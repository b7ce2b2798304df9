"""Log lines on standard error, for people or as one JSON object each.

In: log records, some of which have fields of their own. Out: text. Only `LoggedTexts` holds texts of requests.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from farthing.server.http.request_record import Exchange

MAX_LOGGED_TEXTS = 100  # of one request
MAX_LOGGED_CHARS = 1000  # of one text


class Fields:
    """A log message that is more than words: its `str` is for people, `fields` and `message` are for machines."""

    message: str

    def fields(self) -> Mapping[str, object]:
        raise NotImplementedError


class AccessLine(Fields):
    """The line of one answered request. Nothing is formatted until a handler needs it."""

    message = "request"

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __str__(self) -> str:
        exchange = self._exchange
        notes = "".join(f" {name}={value}" for name, value in exchange.notes.items())
        time_taken = f"{exchange.seconds * 1e3:.1f} ms"
        return f"{exchange.method} {exchange.path} {exchange.status} {time_taken}{notes} id={exchange.request_id}"

    def fields(self) -> Mapping[str, object]:
        exchange = self._exchange
        return {
            "method": exchange.method,
            "path": exchange.path,
            "status": exchange.status,
            "ms": round(exchange.seconds * 1e3, 1),
            **exchange.notes,
            "request_id": exchange.request_id,
        }


class LoggedTexts(Fields):
    """The texts that a request sent, cut to a bounded length."""

    message = "texts"

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __str__(self) -> str:
        # JSON keeps line ends out of the log.
        return f"texts={json.dumps(self._shown())} id={self._exchange.request_id}"

    def fields(self) -> Mapping[str, object]:
        return {"num_texts": len(self._exchange.texts), "texts": self._shown(), "request_id": self._exchange.request_id}

    def _shown(self) -> list[str]:
        texts = self._exchange.texts[:MAX_LOGGED_TEXTS]
        return [(item if isinstance(item, str) else json.dumps(item))[:MAX_LOGGED_CHARS] for item in texts]


class JsonFormatter(logging.Formatter):
    """One JSON object per record: ts, level, logger, msg; the fields of a `Fields` message; the traceback, if any."""

    def format(self, record: logging.LogRecord) -> str:
        message: Any = record.msg
        structured = isinstance(message, Fields)
        entry: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": message.message if structured else record.getMessage(),
        }
        if structured:
            entry |= message.fields()
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure_logging(level: str, log_format: str) -> None:
    """Write our log lines to standard error, with the time; of other libraries' lines only warnings and above."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("farthing").setLevel(level.upper())
