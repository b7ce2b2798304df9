"""Other projects' servers behind ours: Infinity, and llama.cpp's server. Each is skipped where it is not at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from foreign import ForeignServer, infinity, llama_cpp
from processes import Process, load_on, wait_for

from farthing.core.errors import UnknownPromptError, UpstreamLengthError
from farthing.serving.text.prepare import Slice

OpenServer = Callable[[Path, Path], AbstractContextManager[ForeignServer]]

TEXTS = [
    *(f"{'word ' * (index % 50)}number {index}" for index in range(100)),
    *("Ein Müller mahlt Mehl.", "四分之一便士", "a\nb\tc", "emoji 🙂 and é", "def f(x): return x**2", " padded "),
    "word " * 200,
]
MIN_COSINE = 0.9999
SERVERS = {"infinity": infinity, "llama.cpp": llama_cpp}


@pytest.fixture(scope="module", params=SERVERS)
def foreign(request: Any, starter_dir: Path, tmp_path_factory: Any) -> Iterator[tuple[str, ForeignServer]]:
    with SERVERS[request.param](starter_dir, tmp_path_factory.mktemp("foreign")) as server:
        yield request.param, server


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    products = (one * other).sum(axis=1)
    return np.asarray(products / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


def test_its_vectors_are_those_that_are_computed_here(foreign: Any, ask: Any, server: Any) -> None:
    name, upstream = foreign
    with ask(upstream.url) as asked:
        result, cut = asked(TEXTS), asked(TEXTS, dimensions=100)
        prompted = asked(["a"], prompt="query: ")
        warnings = asked(["a"], truncate=True).warnings
        with pytest.raises(UnknownPromptError):
            asked(["a"], instruction="find")
        assert asked.used() == [True]
    assert cosines(result.vectors, server.embedder.encode(TEXTS)).min() >= MIN_COSINE
    assert cosines(cut.vectors, server.embedder.encode(TEXTS, dimensions=100)).min() >= MIN_COSINE
    assert cosines(prompted.vectors, server.embedder.encode(["a"], prompt="query: ")).min() >= MIN_COSINE
    np.testing.assert_allclose(np.linalg.norm(cut.vectors, axis=1), 1, atol=1e-6)
    assert "left to the server" in warnings[0]
    expected = server.embedder._preparer.prepare(Slice(TEXTS)).num_tokens
    if name == "llama.cpp":
        assert result.num_tokens == expected
    else:  # it counts characters, and tokens are estimated
        assert 0.5 < result.num_tokens / expected < 2


def test_a_text_that_is_too_long_is_cut_or_refused_and_harms_nobody(foreign: Any, ask: Any, server: Any) -> None:
    name, upstream = foreign
    with ask(upstream.url) as asked:
        if name == "infinity":
            cut = asked(["word " * 3000]).vectors
            assert cosines(cut, server.embedder.encode(["word " * 3000], truncate=True)).min() >= MIN_COSINE
        too_long = "word " * 50_000
        for _ in range(5):
            with pytest.raises(UpstreamLengthError) as caught:
                asked(["fine", too_long])
        assert len(str(caught.value)) < 400
        (state,) = asked.embedder.upstreams()
        assert (state.is_up, state.failures_total) == (True, 0)


@pytest.mark.parametrize("name", SERVERS)
def test_behind_our_server_it_may_be_killed_and_started_again(
    name: str, serve: Callable[..., Process], starter_dir: Path, tmp_path: Path
) -> None:
    first_folder, second_folder = tmp_path / "first", tmp_path / "second"
    first_folder.mkdir()
    second_folder.mkdir()
    open_server: OpenServer = SERVERS[name]
    with open_server(starter_dir, first_folder) as first, open_server(starter_dir, second_folder) as second:
        ours = serve(
            "--upstream", first.url, "--upstream", second.url, "--model", "minilm", "--port", "0",
            "--requests-per-minute", "1000000", FARTHING_API_KEY="sesame-sesame-sesame",
        )  # fmt: skip
        ours.wait_until_ready()
        wait_for(lambda: ours.text().count(" is used\n") == 2)
        headers = {"authorization": "Bearer sesame-sesame-sesame"}
        body = {"input": ["one", "two"], "dimensions": 64}
        assert httpx.post(f"{ours.url}/v1/embeddings", json=body).status_code == 401
        answers = [httpx.post(f"{ours.url}/v1/embeddings", json=body, headers=headers) for _ in range(2)]
        assert [answer.headers["x-farthing-cache"] for answer in answers] == ["hits=0, misses=2", "hits=2, misses=0"]
        assert answers[0].json()["data"] == answers[1].json()["data"]
        with load_on(ours.url, headers) as answers:
            wait_for(lambda: len(answers) > 50)
            first.kill()
            killed_at = len(answers)
            wait_for(lambda: len(answers) > killed_at + 50)
            first.start()
            wait_for(lambda: ours.text().count(" is used\n") == 3)
            second.kill()
            killed_at = len(answers)
            wait_for(lambda: len(answers) > killed_at + 50)
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        first.kill()
        assert httpx.post(f"{ours.url}/v1/embeddings", json={"input": "new"}, headers=headers).status_code == 503
        assert httpx.post(f"{ours.url}/v1/embeddings", json=body, headers=headers).status_code == 200


def test_different_servers_of_one_model_agree(ask: Any, starter_dir: Path, tmp_path: Path) -> None:
    with infinity(starter_dir, tmp_path) as one, llama_cpp(starter_dir, tmp_path) as other:
        with ask(one.url, other.url, upstream_batch_texts=4) as asked:
            wait_for(lambda: asked.used() == [True, True])
            both = asked(TEXTS).vectors
            assert all(state.requests_total > 5 for state in asked.embedder.upstreams())
        with ask(other.url) as asked:
            assert cosines(asked(TEXTS).vectors, both).min() >= MIN_COSINE
