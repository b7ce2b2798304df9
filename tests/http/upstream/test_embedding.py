"""What a model on another server answers, next to what it answers itself."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from processes import wait_for

from farthing import embed_file
from farthing.cli.embed import embed
from farthing.core.errors import (
    DimensionsError,
    EmptyInputError,
    InputError,
    NoUpstreamError,
    SpaceChangedError,
    TextTooShortError,
    TooManyTextsError,
    UnknownPromptError,
    UpstreamInputError,
    UpstreamLengthError,
    WrongTaskError,
)
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.serving.request import EmbedRequest
from farthing.serving.text.prepare import Slice
from farthing.toolkit.encoder import open_encoder
from farthing.upstream.prompts import read_prompts

TEXTS = [f"{'word ' * (index % 7)}number {index}" for index in range(150)]


def test_vectors_are_the_upstreams_own_in_order(fronts: Any, ask: Any, server: Any) -> None:
    with ask(*(front.url for front in fronts), upstream_batch_texts=16) as asked:
        result = asked(TEXTS)
    np.testing.assert_allclose(result.vectors, server.embedder.encode(TEXTS), atol=2e-6)
    counts = [asked["input"] for front in fronts for asked in front.door.asked[1:]]
    assert sorted(map(len, counts)) == [6, *[16] * 9]
    assert all(len(front.door.asked) > 1 for front in fronts)
    expected = server.embedder._preparer.prepare(Slice(TEXTS)).num_tokens
    assert result.num_tokens == sum(result.text_tokens) == expected
    assert min(result.text_tokens) > 0
    assert result.warnings == ()


def test_dimensions_and_lengths_are_cut_and_scaled_here(fronts: Any, ask: Any, server: Any) -> None:
    with ask(fronts[0].url) as asked:
        cut = asked(["a", "b"], dimensions=100)
        plain = asked(["a", "b"], dimensions=100, normalize=False)
        with pytest.raises(DimensionsError):
            asked(["a"], dimensions=385)
    np.testing.assert_allclose(cut.vectors, server.embedder.encode(["a", "b"], dimensions=100), atol=2e-6)
    np.testing.assert_allclose(plain.vectors, server.embedder.encode(["a", "b"])[:, :100], atol=2e-6)
    assert (cut.space.dimensions, plain.space.normalized) == (100, False)
    assert "not known here" in cut.warnings[0]
    assert all("dimensions" not in body for body in fronts[0].door.asked)


def test_texts_are_cleaned_and_short_ones_are_answered_as_the_settings_say(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url) as asked:
        with pytest.raises(TextTooShortError, match="Text 1"):
            asked(["a", "\ufeff "])
        with pytest.raises(TooManyTextsError):
            asked(["a"] * 9000)
        asked(["\ufeffclean"])
    with ask(fronts[0].url, serving=ServingSettings(short_text="zero")) as asked:
        result = asked(["", "a", ""])
    assert [row.any() for row in result.vectors] == [False, True, False]
    assert result.text_tokens[0] == 0
    assert [body["input"] for body in fronts[0].door.asked[-1:]] == [["a"]]
    assert ["clean"] in [body["input"] for body in fronts[0].door.asked]


def test_token_ids_are_passed_on_without_a_prompt(fronts: Any, ask: Any, server: Any) -> None:
    ids = [[101, 7592, 102], [101, 2088, 102]]
    with ask(fronts[0].url) as asked:
        np.testing.assert_allclose(asked(ids).vectors, server.embedder.encode(["hello", "world"]), atol=2e-6)
        with pytest.raises(InputError, match="token ids"):
            asked(ids, prompt="query: ")
        with pytest.raises(EmptyInputError, match="Text 1"):
            asked([[1], []])


def test_vectors_of_tokens_are_not_asked_for(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url) as asked, pytest.raises(WrongTaskError, match="runs in another server"):
        asked(["a"], per_token=True)


def test_prompts_are_not_guessed(fronts: Any, ask: Any, server: Any) -> None:
    with ask(fronts[0].url) as asked:
        for way in ({"instruction": "find"}, {"prompt_name": "query"}):
            with pytest.raises(UnknownPromptError, match="upstream-prompts"):
                asked(["a"], **way)
        assert "input_type has no effect" in asked(["a"], input_type="query").warnings[0]
        prompted = asked(["a"], prompt="query: ")
        with pytest.raises(InputError, match="together"):
            asked(["a"], prompt="a", input_type="query")
    np.testing.assert_allclose(prompted.vectors, server.embedder.encode(["a"], prompt="query: "), atol=2e-6)


def test_prompts_come_from_the_configuration_that_is_named(fronts: Any, ask: Any, tiny_qwen3: Any) -> None:
    spec = read_prompts(str(tiny_qwen3), SourceSettings(offline=True))
    with ask(fronts[0].url, spec=spec) as asked:
        asked(["a"], instruction="Find it")
        assert asked(["a"], input_type="query").warnings == ()
    instructed, query = (body["input"][0] for body in fronts[0].door.asked[-2:])
    assert instructed == "Instruct: Find it\nQuery:a"
    assert query.startswith("Instruct: Given a web search query")


def test_a_refusal_names_the_texts_and_carries_the_upstreams_words(fronts: Any, ask: Any) -> None:
    texts = ["fine"] * 30 + ["word " * 600]
    with ask(fronts[0].url, upstream_batch_texts=8) as asked:
        with pytest.raises(UpstreamLengthError, match=r"Of texts 24 to 30 .* has 602 tokens"):
            asked(texts)
        with pytest.raises(UpstreamInputError, match="999999"):
            asked([[999999]])
        assert asked.used() == [True]


def test_a_500_that_speaks_of_length_blames_the_text_and_not_the_server(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url) as asked:
        fronts[0].door.behaviour = "500"
        fronts[0].door.words = "input (3002 tokens) is too large to process. increase the physical batch size"
        for _ in range(4):
            with pytest.raises(UpstreamLengthError, match="3002 tokens"):
                asked(["a"])
        (state,) = asked.embedder.upstreams()
    assert (state.is_up, state.failures_total) == (True, 0)


def test_characters_that_are_called_tokens_are_not_taken_for_tokens(fronts: Any, ask: Any) -> None:
    fronts[0].door.behaviour = "counting characters"
    with ask(fronts[0].url) as asked:
        assert asked(["a" * 40, "b" * 80]).text_tokens == (10, 20)


def test_more_tokens_than_a_text_can_have_are_not_counted(fronts: Any, ask: Any) -> None:
    fronts[0].door.behaviour = "a huge usage"
    with ask(fronts[0].url) as asked:
        assert asked(["a" * 40, "b" * 80]).text_tokens == (10, 20)


def test_a_server_without_base64_is_asked_for_numbers(fronts: Any, ask: Any, server: Any) -> None:
    fronts[0].door.knows_base64 = False
    with ask(fronts[0].url) as asked:
        np.testing.assert_allclose(asked(["a"]).vectors, server.embedder.encode(["a"]), atol=2e-6)


def test_the_space_is_named_by_the_model_or_as_the_user_says(fronts: Any, ask: Any) -> None:
    def space(**settings: str) -> str:
        with ask(fronts[0].url, **settings) as asked:
            identity: str = asked.embedder.space.id
        return identity

    assert space() == space()
    fronts[0].door.space = ""  # as a server that is no Farthing
    assert space() == space(upstream_space="minilm")
    assert space() != space(upstream_space="revised")


def test_a_key_is_sent_and_shown_nowhere(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url.replace("//", "//user:secret@"), upstream_api_key="secret") as asked:
        assert "secret" not in str(asked.embedder.facts()) + str(asked.embedder.upstreams())
        assert asked(["a"]).vectors.shape == (1, 384)


def test_without_an_upstream_in_time_it_is_an_error_that_says_why(ask: Any) -> None:
    with pytest.raises(NoUpstreamError, match="cannot be reached"), ask("http://127.0.0.1:9/v1", upstream_start_s=0.3):
        pass


def test_it_is_an_encoder_as_a_model_in_this_process_is(fronts: Any, server: Any) -> None:
    settings = UpstreamSettings(upstream=fronts[0].url, upstream_batch_texts=16, upstream_start_s=60.0)
    others = SourceSettings(), EngineSettings(format="fp32"), ServingSettings(max_texts_per_request=100)
    encoder = open_encoder("minilm", *others, settings)
    try:
        texts = [f"{index} {text}" for index in range(10) for text in TEXTS]  # of more than one request
        found = encoder.encode_request(EmbedRequest(texts)).vectors
        np.testing.assert_allclose(found, server.embedder.encode(texts), atol=2e-6)
        assert encoder.encode_request(EmbedRequest([])).vectors.shape == (0, 384)
        assert encoder.encode_request(EmbedRequest(["a"], dimensions=100)).vectors.shape == (1, 100)
    finally:
        encoder.close()


def test_a_file_is_embedded_by_another_server(server: Any, fronts: Any, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.npy"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    args = ["minilm", str(source), "-o", str(output), "--upstream", fronts[0].url]
    result = CliRunner().invoke(embed, args)
    assert result.exception is None, result.output
    np.testing.assert_allclose(np.load(output), server.embedder.encode(TEXTS), atol=2e-6)
    printed = CliRunner().invoke(embed, ["minilm", str(source), "-o", "-", "--upstream", fronts[0].url])
    rows = [json.loads(line)["embedding"] for line in printed.stdout.splitlines()]
    np.testing.assert_allclose(rows, np.load(output), atol=2e-6)


def test_a_job_whose_server_changes_its_weights_ends_and_keeps_what_it_has(fronts: Any, tmp_path: Path) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.npy"
    source.write_text("".join(f"text {number}\n" for number in range(4000)))
    door = fronts[0].door

    def change() -> None:
        wait_for(lambda: len(door.asked) > 10)
        door.space = "0123456789abcdef"

    thread = threading.Thread(target=change)
    thread.start()
    with pytest.raises(SpaceChangedError, match="another space"):
        embed_file("minilm", source, output, upstream=fronts[0].url, chunk_rows=8)
    thread.join()
    assert not output.exists()
    assert (tmp_path / "out.npy.partial").is_dir()
