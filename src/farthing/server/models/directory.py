"""Which models a server has, and which of them answers to a name.

In: entries, and routes (a name for several models, of which the first that can answers). Out: the entries to ask, in
order. Nothing is loaded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from farthing.core.errors import SettingsError, UnknownModelError
from farthing.core.models_file import ANY_MODEL
from farthing.core.shown import MAX_NAME, shown_name
from farthing.server.models.slot import ModelEntry

if TYPE_CHECKING:
    from farthing.models.heads import Task


LATEST = ":latest"  # which Ollama's clients put behind a name without a tag


class Directory:
    """
    Args:
        entries: the first of a task answers requests that name no model.
        routes: names of models by the route's own name.

    Raises:
        SettingsError: a name stands for two things, or a route names a model that there is not.
    """

    def __init__(self, entries: Sequence[ModelEntry], routes: Mapping[str, Sequence[str]] | None = None) -> None:
        assert entries
        self.entries = tuple(entries)
        self._by_name: dict[str, ModelEntry] = {}
        self._routes: dict[str, tuple[ModelEntry, ...]] = {}
        for entry in entries:
            for name in dict.fromkeys((entry.name, *entry.aliases)):
                self._check_free(name)
                self._by_name[name] = entry
        for route, names in (routes or {}).items():
            self._check_free(route)
            self._routes[route] = tuple(self._named(name, route) for name in names)

    @property
    def listed_names(self) -> list[str]:
        """Models first, then routes."""
        return [*(entry.name for entry in self.entries), *(name for name in self._routes if name != ANY_MODEL)]

    def names_for(self, task: Task) -> list[str]:
        """Of the models that do that."""
        return [entry.name for entry in self.entries if entry.task == task]

    def knows(self, name: str | None) -> bool:
        """Whether something answers to `name`, as `check` has it."""
        if not name or name == ANY_MODEL:
            return True
        return len(name) <= MAX_NAME and self._is_one(self._own(name))

    def check(self, name: str | None) -> None:
        """Raises `UnknownModelError` unless `name` is one of a model or a route, `auto`, empty or None."""
        if name is not None and not self.knows(name):
            serves = ", ".join(map(repr, self.listed_names))
            raise UnknownModelError(f"This server has no model {shown_name(name)}; it serves {serves}.", param="model")

    def listed_name(self, name: str) -> str:
        """What the model or route that clients call so is listed as. Raises `UnknownModelError`."""
        self.check(name)
        name = self._own(name)
        if name in self._by_name:
            return self._by_name[name].name
        return name if name in self._routes and name != ANY_MODEL else self.entries[0].name

    def candidates(self, name: str | None, task: Task) -> Iterator[ModelEntry]:
        """Entries to ask, best first; none when no model is for the task. `name` is a known one."""
        name = self._own(name) if name else name
        if name in self._routes and name != ANY_MODEL:
            return iter(self._routes[name])
        if name == ANY_MODEL and (able := [entry for entry in self._routes.get(name, ()) if entry.task == task]):
            return iter(able)
        if name and name != ANY_MODEL:
            return iter((self._by_name[name],))
        return iter([entry for entry in self.entries if entry.task == task][:1])

    def _own(self, name: str) -> str:
        """The name without Ollama's default tag, unless a model is really called so."""
        return name if self._is_one(name) else name.removesuffix(LATEST)

    def _is_one(self, name: str) -> bool:
        return name in self._by_name or name in self._routes

    def _check_free(self, name: str) -> None:
        if name in self._by_name or name in self._routes:
            raise SettingsError(f"The name {name!r} stands for two models or routes; give each its own.")

    def _named(self, name: str, route: str) -> ModelEntry:
        if name not in self._by_name:
            known = ", ".join(entry.name for entry in self.entries)
            raise SettingsError(f"The route {route!r} names the model {name!r}; the models are: {known}.")
        return self._by_name[name]
