"""How the commands that take texts open what embeds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from farthing.cli.common import data_options
from farthing.cli.common.data_options import index_encoder
from farthing.core.errors import ModelNotFoundError
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings, UpstreamSettings
from farthing.core.space import ELSEWHERE, VectorSpace
from farthing.toolkit.documents.splitting.split import Splitting
from farthing.toolkit.index.manifest import IndexManifest

SERVER = UpstreamSettings(upstream="http://127.0.0.1:1/v1")


def manifest(pooling: str) -> IndexManifest:
    space = VectorSpace("./model", "0123456789abcdef-int8", pooling, 8, True)
    return IndexManifest("data-1", "./model", space, Splitting(64, 8), 1)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Resolved]]:
    """Which model was opened with which settings."""
    found: list[tuple[str, Resolved]] = []

    @contextmanager
    def open_nothing(model: str, settings: Resolved, _: int) -> Iterator[None]:
        found.append((model, settings))
        yield

    monkeypatch.setattr(data_options, "opened_encoder", open_nothing)
    return found


@pytest.mark.parametrize(
    ("upstream", "pooling", "prompts", "form"),
    [
        (SERVER, "last", "./model", "auto"),
        (UpstreamSettings(upstream=SERVER.upstream, upstream_prompts="./other"), "last", "./other", "auto"),
        (SERVER, ELSEWHERE, None, "auto"),
        (UpstreamSettings(), "last", None, "int8"),
    ],
)
def test_an_index_s_queries_have_the_prompts_and_the_format_of_its_model(
    upstream: UpstreamSettings, pooling: str, prompts: str | None, form: str, opened: list[tuple[str, Resolved]]
) -> None:
    with index_encoder(manifest(pooling), "served", Resolved.of(upstream), 0):
        pass
    ((model, settings),) = opened
    assert model == "served"
    assert settings.group(UpstreamSettings).upstream_prompts == prompts
    assert settings.group(EngineSettings).format == form


def test_what_goes_wrong_later_is_not_taken_for_the_model_of_the_index(opened: list[tuple[str, Resolved]]) -> None:
    with (
        pytest.raises(ModelNotFoundError, match=r"^a reranker$"),
        index_encoder(manifest("last"), None, Resolved.of(), 0),
    ):
        raise ModelNotFoundError("a reranker")
    assert opened[0][0] == "./model"
