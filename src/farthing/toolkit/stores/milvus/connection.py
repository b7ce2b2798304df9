"""A connection to Milvus: to a server or cluster by its address, or to Milvus Lite, which keeps its data beside a
program.

In: an address as pymilvus takes it. Out: pymilvus's client, whose errors come as `VectorIndexError`, with the address
and what to do. The connection knows nothing of passages.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from farthing.core.errors import IndexBusyError, SettingsError, VectorIndexError
from farthing.core.files import PRIVATE_FOLDER, user_path
from farthing.toolkit.optional import needed

SCHEMES = ("http", "https", "tcp", "unix")
LITE_SUFFIX = ".db"
# Loading a large collection takes minutes.
CONNECT_TIMEOUT_S, CALL_TIMEOUT_S = 10.0, 300.0
# Milvus Lite runs in this process, so it does answer, however busy the machine is.
LITE_TIMEOUT_S = 60.0
RECONNECT_AFTER_S = 0.5
# What these loggers write with tracebacks is raised as well.
LOUD_LOGGERS = ("pymilvus", "pymilvus.milvus_client", "milvus_lite")


class MilvusConnection:
    """A connection that is made when something is first asked of it. Milvus Lite runs in this process from then on
    until the process ends.

    Attributes:
        address: for messages, without the password.
        lite: where Milvus Lite keeps its data; None on a server.

    Raises:
        SettingsError: `uri` is neither a server's address nor a path that ends in .db.
        MissingExtraError: pymilvus, or for a path milvus-lite, is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._uri, self.address, self.lite = uri, without_password(uri), lite_path(uri)
        self._opened: Any = None
        with needed("An index on Milvus", "milvus"):
            import pymilvus  # noqa: F401

            if self.lite is not None:
                import milvus_lite  # noqa: F401

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call this method of `pymilvus.MilvusClient` and return its result. Raises `VectorIndexError`."""
        with self.errors():
            return getattr(self._client(), method)(*args, **{"timeout": CALL_TIMEOUT_S, **kwargs})

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Wrap calls of pymilvus. Raises `VectorIndexError` for pymilvus's errors."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
            raise VectorIndexError(self._described(error)) from error

    def make(self, collection: str, schema: Any, indexes: Any) -> None:
        """Make a collection where there is none, or what is missing of it. It can be searched from then on."""
        if not self.call("has_collection", collection):
            self.call("create_collection", collection, schema=schema, consistency_level="Bounded")
        have = self.call("list_indexes", collection)
        for index in [index for index in indexes if index.index_name in have]:
            indexes.remove(index)
        if indexes:
            self.call("create_index", collection, indexes, sync=False)  # it has no rows: nothing to wait for
        self.call("load_collection", collection)

    def _client(self) -> Any:
        if self._opened is None:
            from pymilvus import MilvusClient

            for name in LOUD_LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            if self.lite is not None:
                start_lite(self.lite)
            self._opened = self._connected(MilvusClient)
        return self._opened

    def _connected(self, client: Any) -> Any:
        """A connected client. Connecting is tried twice: gRPC shares what is connected to an address in a process, and
        the server may have just ended it ("too many pings"); and Milvus Lite answers late where the machine is busy."""
        import grpc
        from pymilvus.client.types import Status
        from pymilvus.exceptions import MilvusException

        place = str(self.lite or self._uri)
        try:
            return client(place, timeout=CONNECT_TIMEOUT_S)
        except grpc.RpcError as error:
            if not isinstance(error, grpc.Call) or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        except MilvusException as error:
            if self.lite is None or error.code != Status.CONNECT_FAILED:
                raise
        time.sleep(RECONNECT_AFTER_S)
        return client(place, timeout=CONNECT_TIMEOUT_S if self.lite is None else LITE_TIMEOUT_S)

    def _described(self, error: Exception) -> str:
        from pymilvus.exceptions import ConnectError

        reason = str(getattr(error, "message", "") or error)
        if any(word in reason.lower() for word in ("auth", "permission", "privilege")):
            remedy = "Give a user who may do this: milvus:http://USER:PASSWORD@HOST:19530/NAME."
        elif isinstance(error, ConnectError) or "connect" in reason.lower() or self._opened is None:
            remedy = "Is it running, and are address, user and password right?"
        else:
            remedy = "Milvus's own log says more."
        return f"Milvus at {self.address}: {reason.strip().rstrip('.')}. {remedy}"


def start_lite(path: Path) -> None:
    """Have Milvus Lite serve this folder in this process, if it does not yet; pymilvus finds it by its path.

    Raises `IndexBusyError` or `VectorIndexError`, which say why it cannot.
    """
    from milvus_lite import MilvusLite
    from milvus_lite.exceptions import DataDirLockedError
    from milvus_lite.server_manager import server_manager_instance

    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.mkdir(PRIVATE_FOLDER, exist_ok=True)  # it holds documents
    if server_manager_instance.start_and_get_uri(str(path)) is not None:
        return
    try:
        MilvusLite(str(path)).close()  # raises the reason, which the manager only logs
    except DataDirLockedError as error:
        raise IndexBusyError(
            f"Another process has {path} open, and Milvus Lite serves one at a time. Wait until it ends, or run a "
            "Milvus server."
        ) from error
    except Exception as error:
        raise VectorIndexError(f"Milvus Lite cannot open {path}: {error}. Name another path.") from error


def lite_path(uri: str) -> Path | None:
    """The path of Milvus Lite's data; None for a server's address. Raises `SettingsError` for what is neither."""
    if is_address(uri):
        return None
    if not uri.endswith(LITE_SUFFIX) or "://" in uri:
        raise SettingsError(
            f"{without_password(uri)!r} is no address of Milvus. Give milvus:http://HOST:19530/NAME, or for Milvus "
            f"Lite a path that ends in {LITE_SUFFIX}: milvus:./vectors.db/NAME.",
            param="store",
        )
    return user_path(uri).absolute()


def is_address(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return parts.scheme in SCHEMES and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def without_password(uri: str) -> str:
    return re.sub(r"^(.*?//)?([^/:@]*):.*@", r"\1\2:***@", uri)
