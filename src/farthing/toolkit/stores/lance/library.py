"""Imports LanceDB, in about half the time that its import takes by itself.

LanceDB imports a client for a server of its own, some hundred classes and functions that pydantic checks arguments for.
Making these checks takes most of the import, and an index in a folder uses none. pydantic can make each check when it
is first used (`defer_build`), and its defaults are changed to that while LanceDB is imported. Where pydantic keeps its
defaults is no public interface: if they are elsewhere, the import is slow and nothing else changes
(tests/unit/toolkit/stores/lance/test_library.py tells).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


def import_lancedb() -> ModuleType:
    """The package `lancedb`. Raises `ModuleNotFoundError` where it is not installed."""
    if "lancedb" in sys.modules:
        return sys.modules["lancedb"]
    with deferred_checks():
        return import_module("lancedb")


@contextmanager
def deferred_checks() -> Iterator[None]:
    """Have pydantic make the checks of classes that are defined meanwhile when they are first used."""
    defaults = pydantic_defaults()
    before = defaults.get("defer_build")
    defaults["defer_build"] = True
    try:
        yield
    finally:
        defaults["defer_build"] = before


def pydantic_defaults() -> dict[str, Any]:
    """The settings of classes that say nothing else; a dictionary that nobody reads where they are not found."""
    try:
        defaults = import_module("pydantic._internal._config").config_defaults
    except (ImportError, AttributeError):
        return {}
    return defaults if isinstance(defaults, dict) and "defer_build" in defaults else {}
