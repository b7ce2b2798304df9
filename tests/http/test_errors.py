"""What a client is told when something is wrong: OpenAI's shape always, one precise message, the right status."""

from __future__ import annotations

import gc
import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.core.settings import ServingSettings
from farthing.engine.runner import Runner

HUGE = "9" * 30


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("value", "param", "part"),
    [
        ("null", "input", "null"),
        ("true", "input", "a boolean"),
        ("1.5", "input", "a number"),
        ("7", "input", "an integer"),
        ("{}", "input", "an object"),
        ("[]", "input", "empty list"),
        ('""', "input[0]", "0 visible characters"),
        ('["a", "  "]', "input[1]", "0 visible characters"),
        ("[null]", "input[0]", "null"),
        ("[true]", "input[0]", "a boolean"),
        ("[1.5]", "input[0]", "a number"),
        ("[{}]", "input[0]", "an object"),
        ('["a", "b", "c", null]', "input[3]", "null"),
        ('["a", 1]', "input[1]", "only strings"),
        ('[1, "a"]', "input[1]", "only token ids"),
        ("[1, true]", "input[1]", "a boolean"),
        ("[1, 2.0]", "input[1]", "no 64-bit integer"),
        (f"[1, {HUGE}]", "input[1]", "no 64-bit integer"),
        ("[1, [1]]", "input[1]", "a list"),
        ("[[]]", "input[0]", "empty list"),
        ("[[1], []]", "input[1]", "empty list"),
        ("[[1], 1]", "input[1]", "only lists of token ids"),
        ('[[1], ["a"]]', "input[1][0]", "only token ids"),
        ("[[1, 2], [3, [4]]]", "input[1][1]", "a list"),
        ("[-1]", "input[0]", "-1"),
        ("[30522]", "input[0]", "0 to 30521"),
        ("[18446744073709551615]", "input[0]", "18446744073709551615"),
    ],
)
def test_a_wrong_input_is_refused_with_its_place(client: httpx.Client, value: str, param: str, part: str) -> None:
    error = error_of(client.post("/v1/embeddings", content=f'{{"input": {value}}}'), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert part in error["message"]


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("model", 1, "string"),
        ("encoding_format", "hex", "'float' or 'base64'"),
        ("dimensions", "64", "integer"),
        ("dimensions", 64.5, "integer"),
        ("dimensions", True, "integer"),
        ("dimensions", 0, "1 to 384"),
        ("dimensions", -1, "1 to 384"),
        ("dimensions", 385, "1 to 384"),
        ("dimensions", 2**63, "1 to 384"),
        ("prompt", ["a"], "string"),
        ("prompt_name", "nonsense", "no prompt 'nonsense'"),
        ("instruction", "Find it", "not trained with instructions"),
        ("input_type", "image", "'query', 'document', 'passage'"),
        ("truncate", "yes", "a boolean, or one of 'END', 'START' and 'NONE'"),
        ("truncate_prompt_tokens", 0, "at least 1, or -1"),
        ("truncate_prompt_tokens", "7", "a number of tokens"),
        ("normalize", 1, "boolean"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client: httpx.Client, name: str, value: Any, part: str) -> None:
    error = error_of(client.post("/v1/embeddings", json={"input": "Hello", name: value}), 400)
    assert error["param"] == name
    assert part in error["message"]


def test_prompt_and_prompt_name_together_are_refused(client: httpx.Client) -> None:
    error_of(client.post("/v1/embeddings", json={"input": "a", "prompt": "b", "prompt_name": "c"}), 400)


def test_an_unknown_parameter_is_refused_with_the_nearest_known_one(client: httpx.Client) -> None:
    near = error_of(client.post("/v1/embeddings", json={"inputs": "Hello"}), 400)
    assert near["param"] == "inputs"
    assert "Did you mean 'input'?" in near["message"]


def test_a_missing_input_is_named(client: httpx.Client) -> None:
    assert error_of(client.post("/v1/embeddings", json={}), 400)["param"] == "input"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"input": NaN}',
        b'{"input": [Infinity]}',
        b'{"input": 1e999}',
        b'{"input": "\xff\xfe"}',
        b'{"input": "\\ud800"}',
        b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[]",
        b"null",
        b'"input"',
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: httpx.Client, body: bytes) -> None:
    error = error_of(client.post("/v1/embeddings", content=body), 400)
    assert "request body" in error["message"]
    assert error["param"] is None


def test_a_text_over_the_context_is_refused_with_its_length(client: httpx.Client) -> None:
    response = client.post("/v1/embeddings", json={"input": ["short", "word " * 300]})
    error = error_of(response, 400)
    assert error["code"] == "context_length_exceeded"
    assert "Text 1 has 302 tokens" in error["message"]
    assert "256" in error["message"]


def test_another_model_is_not_found(client: httpx.Client) -> None:
    error = error_of(client.post("/v1/embeddings", json={"input": "Hello", "model": "gpt-9"}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "'minilm'" in error["message"]
    assert error_of(client.get("/v1/models/gpt-9"), 404)["code"] == "model_not_found"


def test_unknown_routes_and_methods_are_answered_in_the_same_shape(client: httpx.Client) -> None:
    assert error_of(client.get("/v1/nothing%0Ahere"), 404)["code"] == "not_found"
    wrong_method = client.get("/v1/embeddings")
    assert error_of(wrong_method, 405)["code"] == "method_not_allowed"
    assert wrong_method.headers["allow"] == "POST"


def test_too_many_texts_are_refused(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, serving=ServingSettings(max_texts_per_request=2)) as running:
        response = httpx.post(f"{running.url}/v1/embeddings", json={"input": ["a", "b", "c"]})
        assert error_of(response, 400)["code"] == "too_many_texts"


def test_a_failed_batch_is_our_fault_and_the_next_one_runs(
    launch: Any, tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the device is on fire")

    with launch(tiny_qwen3) as running:
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "run", fail)
            error = error_of(httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"}), 500)
        assert (error["type"], error["code"]) == ("server_error", "batch_failed")
        assert httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"}).status_code == 200


def test_an_unexpected_error_shows_an_id_and_keeps_its_traceback_in_the_log(
    launch: Any, tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("a detail that must not leave the server")

    with launch(tiny_qwen3) as running:
        monkeypatch.setattr(running.service, "finish", fail)
        response = httpx.post(f"{running.url}/v1/embeddings", json={"input": "a"})
        error = error_of(response, 500)
    assert error["code"] == "internal_error"
    assert response.headers["x-request-id"] in error["message"]
    assert "must not leave" not in response.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert response.headers["x-request-id"] in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_the_message_of_a_schema_error_never_repeats_a_long_value(client: httpx.Client) -> None:
    response = client.post("/v1/embeddings", content=json.dumps({"input": "a", "encoding_format": "x" * 10_000}))
    assert len(error_of(response, 400)["message"]) < 200


def test_a_text_with_too_many_characters_is_refused_before_it_is_tokenised(launch: Any, tiny_qwen3: Path) -> None:
    with launch(tiny_qwen3, serving=ServingSettings(max_text_chars=100)) as running:
        answer = httpx.post(f"{running.url}/v1/embeddings", json={"input": ["a", "b" * 101], "truncate": True})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "text_too_large", "input[1]")
    assert "Text 1 has 101 characters; at most 100 are taken." in error["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a", "model": "LONG"}),
        ("/v1/embeddings", {"input": "a", "prompt_name": "LONG"}),
        ("/v1/embeddings", {"input": "a", "prompt": "LONG"}),
        ("/v1/embeddings", {"input": "a", "instruction": "LONG"}),
        ("/v2/embed", {"texts": ["a"], "model": "LONG"}),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "model": "LONG"}),
        ("/rerank", {"query": "a", "texts": ["a"], "model": "LONG"}),
        ("/score", {"text_1": "a", "text_2": "a", "model": "LONG"}),
        ("/embed", {"inputs": "a", "prompt_name": "LONG"}),
        ("/embed_all", {"inputs": "a", "prompt_name": "LONG"}),
        ("/tokenize", {"inputs": "a", "prompt_name": "LONG"}),
        (
            "/similarity",
            {"inputs": {"source_sentence": "a", "sentences": ["a"]}, "parameters": {"prompt_name": "LONG"}},
        ),
        ("/api/embed", {"input": "a", "model": "LONG"}),
        ("/api/embeddings", {"prompt": "a", "model": "LONG:latest"}),
        ("/api/show", {"model": "LONG"}),
    ],
)
def test_long_names_and_prompts_do_not_come_back_whole(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).replace("LONG", "x" * 2_000_000)
    answer = client.post(path, content=content)
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 500


def test_joiners_without_end_are_cleaned_in_a_moment(client: httpx.Client) -> None:
    text = "é" + "\u200d" * 900_000 + "é"
    answer = client.post("/v1/embeddings", json={"input": text, "truncate": True}, timeout=30)
    assert answer.status_code == 200


def has_at_most(num_blocks: int) -> bool:
    return sys.getallocatedblocks() < num_blocks


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": [{"a": []}] * 60_000}),
        ("/v1/embeddings", {"input": "a", "dimensions": [[]] * 60_000}),
        ("/embed", {"inputs": [{"a": []}] * 60_000}),
        ("/tokenize", {"inputs": [{"a": []}] * 60_000}),
        ("/api/embed", {"model": "minilm", "input": [{"a": []}] * 60_000}),
        ("/v2/embed", {"model": "minilm", "texts": [{"a": []}] * 60_000}),
        ("/v1/rerank", {"model": "minilm", "query": "a", "documents": [[]] * 60_000}),
    ],
)
def test_a_body_that_was_refused_is_gone_without_the_collector(server: Any, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body)
    del body
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):  # what is loaded and kept by the first
            most_blocks = sys.getallocatedblocks() + 30_000
            for _ in range(3):
                answer = httpx.post(f"{server.url}{path}", content=content, timeout=30)
                assert 400 <= answer.status_code < 500
            server.wait_until(partial(has_at_most, most_blocks))
    finally:
        gc.enable()
