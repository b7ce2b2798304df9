"""What another Farthing says beside its vectors: their space, and which texts it cut."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from processes import wait_for

from farthing import Index
from farthing.cli.main import cli
from farthing.core.errors import UpstreamLengthError, WrongSpaceError
from farthing.core.settings import CacheSettings, ServingSettings
from farthing.serving.cache.embedder import CachedEmbedder
from farthing.serving.cache.vectors import open_cache
from farthing.serving.request import EmbedRequest

LONG = "word " * 600


def test_it_cuts_long_texts_when_it_is_asked_to_and_says_which(fronts: Any, ask: Any, server: Any) -> None:
    texts = ["a", LONG, *["b"] * 120, LONG]
    with ask(fronts[0].url, upstream_batch_texts=200) as asked:
        result = asked(texts, truncate=True)
        with pytest.raises(UpstreamLengthError):
            asked([LONG])
    assert (result.truncated, result.warnings) == ((1, 122), ())
    np.testing.assert_allclose(result.vectors, server.embedder.encode(texts, truncate=True), atol=2e-6)
    assert max(len(body["input"]) for body in fronts[0].door.asked) == 100
    with ask(fronts[0].url, serving=ServingSettings(truncate=True)) as asked:
        assert asked([LONG]).truncated == (0,)


def test_what_was_cut_is_kept_as_such(fronts: Any, ask: Any) -> None:
    async def both(embedder: Any) -> Any:
        first = await embedder.embed_async(EmbedRequest(["a", LONG], truncate=True))
        with pytest.raises(UpstreamLengthError):
            await embedder.embed_async(EmbedRequest([LONG], truncate=False))
        return first, await embedder.embed_async(EmbedRequest([LONG, "a"], truncate=True))

    with ask(fronts[0].url) as asked:
        cache = open_cache(CacheSettings(), 2**20)
        assert cache is not None
        first, second = asyncio.run(both(CachedEmbedder(asked.embedder, cache, ServingSettings())))
    assert (first.truncated, second.truncated, second.num_cached) == ((1,), (0,), 2)


def test_what_its_model_does_not_know_is_told(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url, upstream_batch_texts=2) as asked:
        found = asked.embedder.encode_request(EmbedRequest(["a wren", "b", "c" * 150, "😀", "d"]))
        assert found.unknown.texts == (2, 3)


def test_its_space_is_followed_when_its_weights_change(fronts: Any, ask: Any) -> None:
    door = fronts[0].door
    with ask(fronts[0].url, upstream_batch_texts=2) as asked:
        before = asked(["a"]).space
        assert before.id == asked.embedder.space.id
        door.space = "0123456789abcdef"
        after = asked([f"text {number}" for number in range(20)]).space
        assert after.id == asked.embedder.space.id != before.id
        door.space = None
        assert asked(["a"]).space == before


def test_one_of_another_space_is_not_used_beside_the_others(fronts: Any, ask: Any) -> None:
    urls = [front.url for front in fronts]
    fronts[1].door.space = "0123456789abcdef"
    with ask(*urls) as asked:
        wait_for(lambda: "another space" in " ".join(state.reason for state in asked.embedder.upstreams()))
        assert sorted(asked.used()) == [False, True]
    fronts[1].door.space = ""
    with ask(*urls) as asked:
        wait_for(lambda: "another space" in " ".join(state.reason for state in asked.embedder.upstreams()))
        assert sorted(asked.used()) == [False, True]
    with ask(*urls, upstream_space="ours") as asked:
        wait_for(lambda: asked.used() == [True, True])
        assert "left to the server" in asked(["a"], truncate=True).warnings[0]


def test_one_that_changes_its_space_gives_way_to_the_other(fronts: Any, ask: Any) -> None:
    first, second = (front.door for front in fronts)
    with ask(*(front.url for front in fronts)) as asked:
        wait_for(lambda: asked.used() == [True, True])
        before = asked.embedder.space
        second.space = "0123456789abcdef"
        spaces = {asked([f"text {number}"]).space for number in range(8)}
        assert spaces == {before}
        wait_for(lambda: asked.used() == [True, False])
        first.space = "0123456789abcdef"
        wait_for(lambda: asked([str(id(object()))]).space != before and any(asked.used()))


def test_an_index_is_searched_with_a_farthing_that_makes_vectors_of_its_space(
    fronts: Any, ask: Any, server: Any, tmp_path: Path
) -> None:
    own, asked_for = str(tmp_path / "own"), str(tmp_path / "asked for")
    with Index.create(own, server.embedder, dimensions=64) as index:
        index.add(["a wren sings", "a tower stands"])
    with ask(fronts[0].url) as asked:
        with Index.create(asked_for, asked.embedder, dimensions=64) as index:
            index.add(["a wren sings", "a tower stands"])
        with Index(own, asked.embedder) as index:
            index.reindex(asked.embedder, dimensions=32)
            assert index.info().manifest.space.pooling == "mean"
        for encoder in (asked.embedder, server.embedder):
            for place in (own, asked_for):
                (found,) = Index(place, encoder).search("bird song", 1, mode="vector")
                assert found.passage.text == "a wren sings"
                assert Index(place, encoder).add(["a tower stands"]).num_unchanged == 1
    fronts[0].door.space = "0123456789abcdef"
    with ask(fronts[0].url) as asked:
        for place in (own, asked_for):
            with pytest.raises(WrongSpaceError):
                Index(place, asked.embedder).search("bird song")


def test_the_command_line_searches_with_a_farthing_that_runs(
    fronts: Any, starter_dir: Path, server: Any, tmp_path: Path
) -> None:
    place = tmp_path / "index"
    with Index.create(str(place), server.embedder) as index:
        index.add(["a wren sings"])
    manifest = place / "farthing-index.json"  # whose model is in that folder, for its prompts
    named = json.loads(manifest.read_text()) | {"model": str(starter_dir)}
    manifest.write_text(json.dumps(named))
    command = ["search", str(place), "bird song", "--upstream", fronts[0].url, "--model", "minilm"]
    found = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert "a wren sings" in found.stdout
    assert fronts[0].door.asked


def test_other_servers_are_not_told_what_they_do_not_know(fronts: Any, ask: Any) -> None:
    fronts[0].door.space = ""
    with ask(fronts[0].url) as asked:
        assert "left to the server" in asked(["a"], truncate=True).warnings[0]
    assert all("truncate" not in body for body in fronts[0].door.asked)
