from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from farthing.cli.pull import pull
from farthing.core.errors import ModelNotFoundError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    weights = tmp_path / "blob"
    weights.write_bytes(bytes(3 * 2**20))
    (folder / "model.safetensors").symlink_to(weights)
    return folder


def test_pull_prints_origin_path_and_size_of_the_files_behind_links(folder: Path) -> None:
    result = CliRunner().invoke(pull, [str(folder)])
    assert result.exception is None
    assert result.stdout.splitlines() == [
        f"origin  local folder {folder}",
        f"path    {folder}",
        "size    3.0 MiB in 3 files",
    ]


def test_pull_hands_its_settings_on(tmp_path: Path) -> None:
    options = ["--offline", "--revision", "v1", "--cache-dir", str(tmp_path)]
    result = CliRunner().invoke(pull, ["some/model", *options])
    assert isinstance(result.exception, ModelNotFoundError)
    assert "not asked, because offline is set" in str(result.exception)
    assert f"({tmp_path}): no complete copy of some/model at revision v1" in str(result.exception)


def test_pull_needs_a_name() -> None:
    result = CliRunner().invoke(pull, [])
    assert (result.exit_code, "Missing argument 'NAME'" in result.stderr) == (2, True)
