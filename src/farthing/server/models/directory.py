"""The models that a server has, and which of them answers to a name.

In: entries, and routes (a route is a name for several models, of which the first that can answers). Out: the entries to
ask, in order. Nothing is loaded here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from farthing.core.errors import SettingsError, UnknownModelError
from farthing.core.models_file import ANY_MODEL
from farthing.core.shown import MAX_NAME, shown_name
from farthing.server.models.slot import ModelEntry

if TYPE_CHECKING:
    from farthing.models.forward.heads import Task


LATEST = ":latest"  # Ollama's clients put this behind a name without a tag


class Directory:
    """The models and routes by their names.

    Args:
        entries: the models; the first for a task answers requests that name no model.
        routes: the names of models by the name of the route.

    Raises:
        SettingsError: a name stands for two things, or a route names a model that does not exist.
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
        """The names of the models, then those of the routes."""
        return [*(entry.name for entry in self.entries), *(name for name in self._routes if name != ANY_MODEL)]

    def names_for(self, task: Task) -> list[str]:
        """Return the names of the models that do `task`."""
        return [entry.name for entry in self.entries if entry.task == task]

    def listed_name(self, name: str) -> str:
        """Return the listed name of the model or route that clients call `name`. Raises `UnknownModelError`."""
        if name and name != ANY_MODEL:
            name = self._own(name)
            return self._by_name[name].name if name in self._by_name else name
        return self.entries[0].name

    def find(self, name: str | None, task: Task) -> Sequence[ModelEntry]:
        """Return the models to ask, best first; none when no model does the task.

        Raises `UnknownModelError` unless `name` is the name of a model or a route, `auto`, empty or None.
        """
        if name and name != ANY_MODEL:
            name = self._own(name)
            return self._routes[name] if name in self._routes else (self._by_name[name],)
        if name and (able := [entry for entry in self._routes.get(name, ()) if entry.task == task]):
            return able
        return [entry for entry in self.entries if entry.task == task][:1]

    def _own(self, name: str) -> str:
        """Return the name without Ollama's default tag, unless a model's name has it. Raises `UnknownModelError`."""
        if len(name) <= MAX_NAME:
            for own in (name, name.removesuffix(LATEST)):
                if own in self._by_name or own in self._routes:
                    return own
        serves = ", ".join(map(repr, self.listed_names))
        raise UnknownModelError(f"This server has no model {shown_name(name)}; it serves {serves}.", param="model")

    def _check_free(self, name: str) -> None:
        if name in self._by_name or name in self._routes:
            raise SettingsError(f"The name {name!r} stands for two models or routes; give each its own.")

    def _named(self, name: str, route: str) -> ModelEntry:
        if name not in self._by_name:
            known = ", ".join(entry.name for entry in self.entries)
            raise SettingsError(f"The route {route!r} names the model {name!r}; the models are: {known}.")
        return self._by_name[name]
