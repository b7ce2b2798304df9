from __future__ import annotations

from pathlib import Path

import pytest

from farthing.core.errors import SettingsError
from farthing.core.models_file import ModelsFile, read_models
from farthing.core.resolve import read_config_file, resolve
from farthing.core.settings import GROUPS, EngineSettings, ServingSettings

GOOD = """
memory = "6GB"
format = "int8"

[models.large]
model = "Qwen/Qwen3-Embedding-0.6B"
aliases = ["text-embedding-3-small"]
memory-share = 0.6
preload = true

[models.starter]
keep_alive_s = 600
format = "fp32"
min_chars = 3

[routes]
best = ["large", "starter"]
"""


def read(text: str, tmp_path: Path, **flags: object) -> ModelsFile:
    file = tmp_path / "farthing.toml"
    file.write_text(text)
    return read_models(resolve(GROUPS, file=read_config_file(file), flags=flags))


def test_each_model_has_settings_of_its_own_over_those_of_all(tmp_path: Path) -> None:
    found = read(GOOD, tmp_path, max_batch_size=7)
    large, starter = found.models
    assert (large.source, starter.source) == ("Qwen/Qwen3-Embedding-0.6B", "starter")
    assert (large.own.aliases, large.own.memory_share, large.own.preload) == (("text-embedding-3-small",), 0.6, True)
    assert (starter.own.keep_alive_s, starter.own.preload) == (600, False)
    formats = [model.settings.group(EngineSettings).format for model in found.models]
    assert formats == ["int8", "fp32"]
    serving = [model.settings.group(ServingSettings) for model in found.models]
    assert [(group.min_chars, group.max_batch_size) for group in serving] == [(1, 7), (3, 7)]
    assert found.routes == {"best": ("large", "starter")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models = 3", "models is 3; it must be a table, [models]"),
        ("[models]", "lists no model. Add a table such as [models.small]"),
        ("[models]\na = 'x'", "models.a is 'x'; it must be a table, [models.a]"),
        ("[models.a]\nformt = 'int8'", "Unknown key formt in [models.a]. Did you mean format?"),
        ("[models.a]\nport = 80", "Unknown key port in [models.a]"),
        ("[models.a]\nformat = 8", "models.a.format from the file is 8; it must be a text"),
        ("[models.a]\nformat = 'int7'", "models.a: format is 'int7'; available: auto"),
        ("[models.a]\naliases = 'b'", "models.a.aliases from the file is 'b'; it must be a list of texts"),
        ("[models.a]\naliases = [1]", "it must be a list of texts"),
        ("[models.a]\nmemory_share = 2", "models.a: memory_share is 2; it must be a number of at most 1"),
        ("[models.a]\nmemory_share = 0.5\nmemory = '1GB'", "models.a gives both memory and memory_share"),
        ("[models.a]\nkeep_alive_s = '5m'", "models.a.keep_alive_s from the file is '5m'; it must be a number"),
        ("[models.a]\n[routes]\nr = 'a'", "routes.r is 'a'; it must be a list of models' names"),
        ("[models.a]\n[routes]\nr = ['b']", "routes.r names the model 'b'; the models are: a"),
    ],
)
def test_a_mistake_is_named_with_its_table(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(text, tmp_path)
    assert message in str(caught.value)


def test_other_commands_pass_over_the_tables(tmp_path: Path) -> None:
    file = tmp_path / "farthing.toml"
    file.write_text(GOOD)
    resolved = resolve((EngineSettings,), file=read_config_file(file))
    assert resolved.group(EngineSettings).format == "int8"
