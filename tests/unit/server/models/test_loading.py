from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rerankers import write_reranker

from farthing.core.errors import DoesNotFitError, SettingsError, WrongTaskError
from farthing.core.models_file import ModelConfig
from farthing.core.resolve import Resolved
from farthing.core.settings import GROUPS, EngineSettings, ModelSettings
from farthing.server.limits.request_memory import RequestMemory
from farthing.server.models.loading import Models
from farthing.serving.embedder import Embedder
from farthing.serving.local_model import ServedModel
from farthing.serving.reranker import Reranker


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reranker("bert", tmp_path_factory.mktemp("models") / "bert")


def config(folder: Path, name: str = "", engine: EngineSettings | None = None, **own: object) -> ModelConfig:
    groups = {kind: kind() for kind in GROUPS} | {EngineSettings: engine or EngineSettings()}
    settings = ModelSettings(model=str(folder), **own)  # type: ignore[arg-type]
    return ModelConfig(name or folder.name, settings, Resolved(groups, {}), has_own_memory=False)


def load(configs: Sequence[ModelConfig], engine: EngineSettings | None = None) -> list[ServedModel]:
    models = Models(configs, engine or EngineSettings())
    models.prepare()
    for entry in models.entries:
        entry.load()
    loaded = [entry.backend for entry in models.entries]
    assert all(isinstance(backend, ServedModel) for backend in loaded)
    return loaded  # type: ignore[return-value]


def close(models: Sequence[ServedModel]) -> None:
    for model in models:
        model.close()


def test_a_model_is_opened_for_what_its_architecture_says(bert: Path, tiny_qwen3: Path) -> None:
    models = load([config(bert), config(tiny_qwen3)])
    assert [type(model) for model in models] == [Reranker, Embedder]
    close(models)


def test_or_for_what_was_asked(bert: Path, tiny_reranker: Path) -> None:
    (model,) = load([config(tiny_reranker, model_task="rerank")])
    assert isinstance(model, Reranker)
    model.close()
    with pytest.raises(WrongTaskError):
        load([config(bert, model_task="embed")])


@pytest.mark.parametrize("memory", ["auto", "none", "900MiB"])
def test_models_are_planned_into_one_memory(memory: str, bert: Path, tiny_qwen3: Path) -> None:
    engine = EngineSettings(memory=memory, context_length=1024)
    models = load([config(folder, engine=engine) for folder in (tiny_qwen3, bert)], engine)
    embedder, reranker = models
    assert (reranker.context_length, embedder.context_length) == (400, 1024)
    budgets = [model.plan.budget_bytes for model in models]
    assert (budgets == [None, None]) == (memory == "none")
    total = reranker.plan.ledger.own_bytes("host") + embedder.plan.ledger.total("host")
    assert memory != "900MiB" or total <= 900 * 2**20
    close(models)


def test_one_model_watches_the_memory_for_all(bert: Path, tiny_qwen3: Path) -> None:
    models = load([config(bert), config(tiny_qwen3), config(tiny_qwen3, "again")])
    assert [model.memory() is not None for model in models] == [False, True, False]
    close(models)


def test_models_that_do_not_fit_together_are_refused_before_one_is_loaded(bert: Path, tiny_qwen3: Path) -> None:
    engine = EngineSettings(memory="84MiB")
    models = Models([config(folder, engine=engine) for folder in (tiny_qwen3, bert)], engine)
    with pytest.raises(DoesNotFitError, match="together"):
        models.prepare()


def test_a_model_that_does_not_fit_asks_for_what_is_kept_for_requests_too(tiny_qwen3: Path) -> None:
    engine = EngineSettings(memory="80MiB")

    def opened(engine: EngineSettings) -> list[ServedModel]:
        requests = RequestMemory(0)
        models = Models([config(tiny_qwen3, engine=engine)], engine, requests=requests)
        models.prepare()
        models.entries[0].load()
        return [models.entries[0].backend]  # type: ignore[list-item]

    with pytest.raises(DoesNotFitError, match="Of 80MiB, 5 MiB are kept for what else the process holds") as caught:
        opened(engine)
    found = re.search(r"Give ([0-9,]+) MiB or more", str(caught.value))
    assert found is not None
    assert int(found[1]) > 80
    close(opened(EngineSettings(memory=f"{found[1]}MiB")))


def test_models_on_two_devices_are_refused(bert: Path, tiny_qwen3: Path) -> None:
    configs = [config(bert), config(tiny_qwen3, engine=EngineSettings(device="cuda"))]
    with pytest.raises(SettingsError, match="different devices"):
        Models(configs, EngineSettings()).prepare()
