"""A reranker on another server, next to what it answers itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from farthing import Document, Index
from farthing.cli.rerank import rerank
from farthing.cli.search import search
from farthing.core.errors import EmptyInputError, NoUpstreamError, UnknownPromptError, UpstreamFailedError
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.serving.request import RerankRequest
from farthing.serving.reranker import Reranker
from farthing.upstream.open import open_upstream
from farthing.upstream.reranker import UpstreamReranker

PAIRS = [("a query", f"document {index} {'word ' * (index % 5)}") for index in range(40)]
PAIRS += [("another query", f"document {index}") for index in range(3)]


@pytest.fixture(scope="module")
def scorer(launch_load: Any, tiny_reranker: Path) -> Iterator[Any]:
    def load() -> Reranker:
        return Reranker.from_settings(str(tiny_reranker), SourceSettings(), EngineSettings(), ServingSettings())

    with launch_load(load, name="scorer") as running:
        yield running


def opened(*urls: str) -> UpstreamReranker:
    settings = UpstreamSettings(upstream=",".join(urls), upstream_start_s=20.0, upstream_batch_texts=16)
    found = open_upstream(
        "scorer", settings, SourceSettings(), EngineSettings(format="fp32"), ServingSettings(), task="rerank"
    )
    assert isinstance(found, UpstreamReranker)
    return found


def ask(reranker: UpstreamReranker, pairs: Any, **fields: Any) -> Any:
    return asyncio.run(reranker.rerank_async(RerankRequest(pairs, **fields)))


@pytest.mark.parametrize("suffix", ["/v1", ""])
def test_scores_are_the_upstreams_own_in_order(suffix: str, scorer: Any) -> None:
    with opened(scorer.url + suffix) as reranker:
        result = ask(reranker, PAIRS)
        np.testing.assert_allclose(result.scores, scorer.service.backend("rerank").score(PAIRS), atol=1e-5)
        assert result.num_tokens > 0
        with pytest.raises(EmptyInputError):
            ask(reranker, [])
        with pytest.raises(UnknownPromptError, match="instruction"):
            ask(reranker, PAIRS, instruction="find")


def test_a_file_is_ranked_by_another_server(scorer: Any, tiny_reranker: Path, tmp_path: Path) -> None:
    texts = [document for _, document in PAIRS[:40]]
    (tmp_path / "in.txt").write_text("\n".join(texts))
    args = ["scorer", str(tmp_path / "in.txt"), "--query", "a query", "--json", "--upstream", f"{scorer.url}/v1"]
    result = CliRunner().invoke(rerank, args)
    assert result.exception is None, result.output
    with Reranker(str(tiny_reranker)) as here:
        expected = {found.index: found.score for found in here.rank("a query", texts)}
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["score"] for line in printed] == sorted((line["score"] for line in printed), reverse=True)
    assert {line["index"]: pytest.approx(line["score"], abs=1e-5) for line in printed} == expected


def test_an_index_is_searched_with_a_reranker_on_another_server(
    scorer: Any, tiny_qwen3: Path, tiny_reranker: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "index")
    with Index.create(place, str(tiny_qwen3)) as index:
        index.add([Document(str(number), f"a wren number {number}") for number in range(12)])
    args = [place, "a wren", "--json", "--rerank"]
    here = CliRunner().invoke(search, [*args, str(tiny_reranker)])
    there = CliRunner().invoke(search, [*args, "scorer", "--rerank-upstream", f"{scorer.url}/v1"])
    for result in (here, there):
        assert result.exception is None, result.output
    found = [[json.loads(line) for line in result.stdout.splitlines()] for result in (here, there)]
    assert len(found[0]) == 10
    for own, other in zip(*found, strict=True):
        assert other["score"] == pytest.approx(own["score"], abs=1e-5)
    alone = CliRunner().invoke(search, [place, "a wren", "--rerank-upstream", f"{scorer.url}/v1"])
    assert "--rerank MODEL" in alone.output


def test_a_failing_one_is_made_up_for_by_another(scorer: Any, open_front: Any) -> None:
    with open_front(scorer.service) as front, opened(front.url, f"{scorer.url}/v1") as reranker:
        front.door.behaviour = "break off"
        for _ in range(4):
            np.testing.assert_allclose(
                ask(reranker, PAIRS[:5]).scores, scorer.service.backend("rerank").score(PAIRS[:5]), atol=1e-5
            )
    with open_front(scorer.service) as front, opened(front.url) as reranker:
        front.door.behaviour = "garbage"
        with pytest.raises((UpstreamFailedError, NoUpstreamError)):
            ask(reranker, PAIRS[:5])


def test_a_server_of_vectors_is_no_reranker(scorer: Any, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    with opened(f"{scorer.url}/v1", f"{server.url}/v1") as reranker:
        scorer.wait_until(lambda: "it answered 404" in caplog.text)
        assert [state.is_up for state in reranker.upstreams()] == [True, False]
