from __future__ import annotations

from pathlib import Path

import pytest
from rerankers import write_reranker

from farthing.core.errors import SettingsError, WrongTaskError
from farthing.core.resolve import Resolved
from farthing.core.settings import GROUPS, EngineSettings, ServerSettings
from farthing.server.loading import Models
from farthing.serving.embedder import Embedder
from farthing.serving.reranker import Reranker


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reranker("bert", tmp_path_factory.mktemp("models") / "bert")


def models(model: Path, engine: EngineSettings | None = None, **settings: str) -> Models:
    groups = {kind: kind() for kind in GROUPS} | {ServerSettings: ServerSettings(**settings)}
    return Models(str(model), Resolved(groups | {EngineSettings: engine or EngineSettings()}, {}))


def test_a_model_is_opened_for_what_its_architecture_says(bert: Path, tiny_qwen3: Path) -> None:
    with models(bert).load() as scores, models(tiny_qwen3).load() as embeds:
        assert (type(scores), type(embeds)) == (Reranker, Embedder)


def test_or_for_what_was_asked(bert: Path, tiny_reranker: Path) -> None:
    with models(tiny_reranker, task="rerank").load() as opened:
        assert isinstance(opened, Reranker)
    with pytest.raises(WrongTaskError):
        models(bert, task="embed").load()


def test_a_reranker_beside_a_reranker_is_refused(bert: Path, tiny_reranker: Path) -> None:
    with pytest.raises(SettingsError, match="Give one of them"):
        models(bert, reranker=str(tiny_reranker)).load()


@pytest.mark.parametrize("memory", ["auto", "none", "900MiB"])
def test_two_models_are_planned_into_one_memory(memory: str, bert: Path, tiny_qwen3: Path) -> None:
    both = models(tiny_qwen3, EngineSettings(memory=memory, context_length=1024), reranker=str(bert))
    with both.load_reranker() as reranker, both.load() as embedder:
        assert (reranker.context_length, embedder.context_length) == (400, 1024)
        budgets = [model.plan.budget_bytes for model in (reranker, embedder)]
        if memory == "none":
            assert budgets == [None, None]
            return
        assert all(budgets)
        total = reranker.plan.ledger.own_bytes("host") + embedder.plan.ledger.total("host")
        assert memory == "auto" or total <= 900 * 2**20


def test_a_model_is_planned_with_what_the_cache_of_vectors_leaves(tiny_qwen3: Path) -> None:
    with models(tiny_qwen3, EngineSettings(memory="640MiB")).load() as embedder:
        assert embedder.plan.budget_bytes == (640 - 10) * 2**20
