"""Imports LanceDB, in about a third of the time that its import takes by itself.

LanceDB imports a client for a server of its own, some hundred classes and functions that pydantic checks arguments for.
This takes most of the import, and an index in a folder uses nothing of it: the client waits until it is used
(`farthing.toolkit.stores.lance.postponed`), as do checks of other classes (`farthing.core.deferred`).

Before Python 3.12 LanceDB also has its own methods compared with those that they override, by decompiling them. That
is a matter for its authors, and left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from farthing.core.deferred import deferred_checks
from farthing.toolkit.stores.lance.postponed import postponed

CLIENT = "lance_namespace_urllib3_client"


def import_lancedb() -> ModuleType:
    """The package `lancedb`. Raises `ModuleNotFoundError` where it is not installed."""
    if loaded := sys.modules.get("lancedb"):
        return loaded
    with deferred_checks(), trusted_overrides(), postponed(CLIENT):
        return import_module("lancedb")


@contextmanager
def trusted_overrides() -> Iterator[None]:
    """Have `overrides.override` take what it is put on for a method that overrides another, without looking."""
    try:
        overrides: Any = import_module("overrides")
        before = overrides.override
    except (ImportError, AttributeError):
        yield
        return
    overrides.override = trusted
    try:
        yield
    finally:
        overrides.override = before


def trusted(method: Any = None, **options: object) -> Any:  # noqa: ARG001
    if method is None:
        return trusted
    method.__override__ = True  # what the checks of classes look for
    return method
