"""Which models a server has, and which of them answers to a name.

In: entries, and routes (a name for several models, of which the first that can answers). Out: the entries to ask, in
order. Nothing is loaded here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def listed_name(self, name: str) -> str:
        """What the model or route that clients call so is listed as. Raises `UnknownModelError`."""
        if name and name != ANY_MODEL:
            name = self._own(name)
            return self._by_name[name].name if name in self._by_name else name
        return self.entries[0].name

    def find(self, name: str | None, task: Task) -> Sequence[ModelEntry]:
        """The models to ask, best first; none when no model is for the task.

        Raises `UnknownModelError` unless `name` is one of a model or a route, `auto`, empty or None.
        """
        if name and name != ANY_MODEL:
            name = self._own(name)
            return self._routes[name] if name in self._routes else (self._by_name[name],)
        if name and (able := [entry for entry in self._routes.get(name, ()) if entry.task == task]):
            return able
        return [entry for entry in self.entries if entry.task == task][:1]

    def _own(self, name: str) -> str:
        """The name without Ollama's default tag, unless a model is really called so. Raises `UnknownModelError`."""
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
