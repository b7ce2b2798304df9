"""Imports that wait until something of them is used.

In: the name of a package of which another one imports classes, mostly for annotations. Out: classes that stand in for
them, and behave as the true ones once they are called, asked for an attribute, or an object is compared with them. The
true package is imported then. Nobody may make subclasses of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def postponed(package: str) -> Iterator[None]:
    """Have whatever is imported meanwhile get stand-ins of the package's classes, unless the package is loaded."""
    if package in sys.modules:
        yield
        return
    finder = Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in finder.found:
            sys.modules.pop(name, None)


class Finder(MetaPathFinder, Loader):
    """Finds the package and all modules in it, and loads modules of stand-ins."""

    def __init__(self, package: str) -> None:
        self._package = package
        self.found: list[str] = []

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if name != self._package and not name.startswith(f"{self._package}."):
            return None
        self.found.append(name)
        return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        module_name = module.__name__

        def stand_in(name: str) -> StandIn:
            if name.startswith("__"):  # what Python asks modules for
                raise AttributeError(name)
            found = StandIn(name, (), {"__module__": module_name})
            setattr(module, name, found)
            return found

        module.__getattr__ = stand_in  # type: ignore[method-assign]


class StandIn(type):
    """The class of stand-ins: each is a class without instances."""

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        return true_class(cls)(*arguments, **named)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # what Python asks classes for
            raise AttributeError(name)
        return getattr(true_class(cls), name)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, true_class(cls))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, true_class(cls))


def true_class(stand_in: type) -> Any:
    return getattr(import_module(stand_in.__module__), stand_in.__name__)
