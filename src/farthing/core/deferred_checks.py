"""Imports of libraries that define many classes which pydantic checks, in about half the time.

Making the checks takes most of such an import, and few of them are ever used. pydantic can make each check when it is
first used (`defer_build`), and its defaults are changed to that for the time of the import. Where pydantic keeps its
defaults is no public interface: if they are elsewhere, the import is slow and nothing else changes
(tests/unit/core/test_deferred_checks.py tells).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


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
