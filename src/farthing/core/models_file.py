"""The models of a config file: tables `[models.NAME]`, and `[routes]` between them.

In: the file's tables, and the settings that all models share. Out: for each model its own settings. A table's keys are
those of `ModelSettings`, and any setting of the groups in `PER_MODEL`. Such a setting holds for this model alone, over
flags, environment and the rest of the file. Messages name the table: "models.small.format is ...". Nothing is looked
for or loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields

from farthing.core.deferred import dataclass
from farthing.core.errors import MAX_SHOWN, SettingsError, shown
from farthing.core.resolve import Resolved, convert
from farthing.core.settings import EngineSettings, ModelSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.core.settings.field import Checked, base_type

ANY_MODEL = "auto"  # the route that requests opt in to: whichever model can answer
PER_MODEL: tuple[type[Checked], ...] = (SourceSettings, EngineSettings, ServingSettings, UpstreamSettings)


@dataclass(frozen=True)
class ModelConfig:
    """
    Attributes:
        name: the name that the model is listed under.
        own: the settings that concern this model alone.
        settings: every group, as it holds for this model.
        has_own_memory: the model's memory was given as a size of its own.
    """

    name: str
    own: ModelSettings
    settings: Resolved
    has_own_memory: bool = False

    @property
    def source(self) -> str:
        return self.own.model or self.name


@dataclass(frozen=True)
class ModelsFile:
    """The models and routes of a file. `routes` lists models by the route's name; the first that can answers."""

    models: tuple[ModelConfig, ...]
    routes: Mapping[str, tuple[str, ...]]


def read_models(shared: Resolved) -> ModelsFile:
    """The models in `shared.tables`. Raises a `SettingsError` that names the table and key."""
    models = tuple(
        model_config(name, table_of(table, f"models.{name}"), shared)
        for name, table in table_of(shared.tables.get("models", {}), "models").items()
    )
    if not models:
        raise SettingsError(
            "The config file lists no model. Add a table such as [models.small] with model = 'starter'."
        )
    names = [model.name for model in models]
    routes = {
        name: route_of(name, value, names)
        for name, value in table_of(shared.tables.get("routes", {}), "routes").items()
    }
    return ModelsFile(models, routes)


def model_config(name: str, table: Mapping[str, object], shared: Resolved) -> ModelConfig:
    own_names = {item.name: base_type(ModelSettings, item.name) for item in fields(ModelSettings)}
    names = {item.name: kind for kind in PER_MODEL for item in fields(kind)}  # type: ignore[arg-type]
    own: dict[str, object] = {}
    given: dict[str, object] = {}
    place = f"models.{name}"
    for raw_key, value in table.items():
        key = raw_key.replace("-", "_")
        if key in own_names:
            own[key] = convert(f"{place}.{key}", value, own_names[key], "file")
        elif key in names:
            given[key] = convert(f"{place}.{key}", value, base_type(names[key], key), "file")
        else:
            raise SettingsError(unknown_key(place, raw_key, [*own_names, *names]), param=f"{place}.{raw_key}")
    try:
        model = ModelSettings(**own)  # type: ignore[arg-type]
        settings = shared.with_values(given, place)
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}", param=f"{place}.{error.param}") from None
    if model.memory_share is not None and "memory" in given:
        raise SettingsError(f"{place} gives both memory and memory_share; give one of them.", param=place)
    return ModelConfig(name, model, settings, "memory" in given)


def route_of(name: str, value: object, models: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise SettingsError(
            f"routes.{name} is {shown(value)}; it must be a list of models' names", param=f"routes.{name}"
        )
    for item in value:
        if item not in models:
            raise SettingsError(
                f"routes.{name} names the model {shown(item)}; the models are: {', '.join(models)}",
                param=f"routes.{name}",
            )
    return tuple(value)


def table_of(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise SettingsError(f"{name} is {shown(value)}; it must be a table, [{name}]", param=name)
    return value


def unknown_key(place: str, key: str, known: Sequence[str]) -> str:
    key = key[:MAX_SHOWN]
    near = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(sorted(known))}."
    return f"Unknown key {key} in [{place}]. {hint}"
