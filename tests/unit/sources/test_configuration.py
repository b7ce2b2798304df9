from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farthing.core.errors import ModelNotFoundError
from farthing.core.settings import SourceSettings
from farthing.sources.configuration import find_configuration

REPO, COMMIT = "some/model", "1" * 40


@pytest.fixture
def settings(tmp_path: Path) -> SourceSettings:
    return SourceSettings(cache_dir=str(tmp_path / "cache"))


def test_of_a_model_on_the_hub_only_the_configuration_is_fetched_and_nothing_is_kept(
    hub: Any, model_files: dict[str, bytes], settings: SourceSettings
) -> None:
    hub.add(REPO, COMMIT, model_files)
    with find_configuration(REPO, settings) as folder:
        assert (folder / "config.json").read_bytes() == model_files["config.json"]
    assert hub.fetched() == {"config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"}
    assert not folder.exists()
    assert not list(Path(str(settings.cache_dir)).rglob("config.json"))


def test_a_folder_is_its_own_configuration(tmp_path: Path, settings: SourceSettings) -> None:
    (tmp_path / "config.json").write_text("{}")
    with find_configuration(str(tmp_path), settings) as folder:
        assert folder == tmp_path
    assert (tmp_path / "config.json").is_file()


def test_offline_the_hub_is_not_asked(hub: Any, model_files: dict[str, bytes], tmp_path: Path) -> None:
    hub.add(REPO, COMMIT, model_files)
    offline = SourceSettings(cache_dir=str(tmp_path), offline=True)
    with pytest.raises(ModelNotFoundError, match="farthing pull some/model"), find_configuration(REPO, offline):
        pass
    assert hub.paths == []


def test_a_model_without_config_json_is_named(hub: Any, settings: SourceSettings) -> None:
    hub.add(REPO, COMMIT, {"model.safetensors": b"weights", "modules.json": b"[]"})
    with pytest.raises(ModelNotFoundError, match="has no config"), find_configuration(REPO, settings):
        pass
