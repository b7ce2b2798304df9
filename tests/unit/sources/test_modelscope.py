from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from farthing.core.errors import MissingExtraError, ModelNotFoundError
from farthing.core.settings import SourceSettings
from farthing.sources.find import find_model


@pytest.fixture
def settings(tmp_path: Path) -> SourceSettings:
    return SourceSettings(cache_dir=str(tmp_path / "cache"))


@pytest.mark.skipif(importlib.util.find_spec("modelscope") is not None, reason="the package is installed")
def test_a_modelscope_model_needs_its_package(settings: SourceSettings) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'farthing\[modelscope\]'"):
        find_model("modelscope:Qwen/Qwen3-Embedding-0.6B", settings)


FAKE_MODELSCOPE = """
from pathlib import Path

def snapshot_download(model_id, *, revision, cache_dir, allow_patterns, ignore_patterns, local_files_only):
    assert "*.safetensors" in allow_patterns and "*.bin" not in allow_patterns and "onnx/*" in ignore_patterns
    folder = Path(cache_dir) / model_id / (revision or "master")
    if model_id == "no/body":
        raise RuntimeError(f"no model {model_id}\\nat all")
    if not local_files_only:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    if not folder.is_dir():
        raise ValueError("not in the cache")
    return str(folder)
"""


@pytest.fixture
def modelscope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in with the signature of modelscope 1.40, which is not among the test dependencies."""
    package = tmp_path / "site" / "modelscope" / "hub"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "snapshot_download.py").write_text(FAKE_MODELSCOPE)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "site")
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "modelscope"]:
        del sys.modules[name]


def test_a_modelscope_model_comes_through_its_package(
    modelscope: None, settings: SourceSettings, tmp_path: Path
) -> None:
    offline = replace(settings, offline=True)
    with pytest.raises(ModelNotFoundError, match="ModelScope's cache: ValueError: not in the cache"):
        find_model("modelscope:some/model", offline)
    source = find_model("modelscope:some/model", settings)
    assert (source.path, source.origin) == (tmp_path / "cache/some/model/master", "ModelScope some/model")
    assert find_model("modelscope:some/model", offline) == source


def test_modelscopes_reasons_are_listed(modelscope: None, settings: SourceSettings) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("modelscope:no/body", settings)
    assert str(caught.value).splitlines()[1:-1] == [
        "  ModelScope: RuntimeError: no model no/body",
        "  ModelScope's cache: RuntimeError: no model no/body",
    ]
