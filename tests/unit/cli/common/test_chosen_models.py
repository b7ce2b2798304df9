from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from farthing.cli.common.chosen_models import chosen_models
from farthing.core.errors import SettingsError
from farthing.core.models_file import ModelsFile
from farthing.core.resolve import resolve
from farthing.core.settings import GROUPS, EngineSettings


def choose(argument: str | None, option: str | None = None, file: Any = None, **flags: object) -> ModelsFile:
    return chosen_models(argument, option, resolve(GROUPS, file=file, flags=flags))


def test_a_folder_is_called_by_its_name_and_by_its_path(tmp_path: Path) -> None:
    (model,) = choose(str(tmp_path)).models
    assert (model.name, model.own.aliases, model.source) == (tmp_path.name, (str(tmp_path),), str(tmp_path))
    for argument, option in (("starter", None), (None, "starter"), ("starter", "starter")):
        (model,) = choose(argument, option).models
    assert (model.name, model.own.aliases, model.own.preload) == ("starter", (), True)


def test_a_served_name_stands_alone() -> None:
    (model,) = choose("starter", served_model_name="m").models
    assert (model.name, model.own.aliases, model.source) == ("m", (), "starter")


def test_a_reranker_and_a_small_model_stand_beside_it() -> None:
    found = choose("large", reranker="judge", fallback_model="starter", format="int8", task="embed")
    assert [(model.name, model.own.model_task) for model in found.models] == [
        ("large", "embed"), ("judge", "rerank"), ("starter", "embed"),
    ]  # fmt: skip
    assert found.routes == {"auto": ("large", "starter")}
    assert [model.settings.group(EngineSettings).format for model in found.models] == ["int8", "int8", "auto"]


def test_the_models_of_a_file_are_taken_when_none_is_named() -> None:
    file = {"models": {"a": {"model": "starter"}, "b": {"model": "starter"}}}
    assert [model.name for model in choose(None, file=file).models] == ["a", "b"]
    for flags in ({"reranker": "judge"}, {"fallback_model": "starter"}):
        with pytest.raises(SettingsError, match="lists models, and"):
            choose(None, file=file, **flags)
    with pytest.raises(SettingsError, match="lists models, and 'starter'"):
        choose("starter", file=file)


def test_none_and_two_are_refused() -> None:
    with pytest.raises(click.UsageError, match="farthing serve starter"):
        choose(None)
    with pytest.raises(click.UsageError, match="'a' and --model-path 'b'"):
        choose("a", "b")
