"""Fields that clients of other servers send, on every route that these clients call."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from farthing import Embedder, Reranker
from farthing.core.settings import ServerSettings
from farthing.server.models.slot import ModelEntry

IGNORED = "x-farthing-ignored"
# A good body of each route, and where its vectors or scores stand in the answer.
EMBED: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "/v1/embeddings": ({"input": ["a wren"]}, lambda body: body["data"][0]["embedding"]),
    "/embeddings": ({"input": ["a wren"]}, lambda body: body["data"][0]["embedding"]),
    "/embed": ({"inputs": ["a wren"]}, lambda body: body[0]),
    "/": ({"inputs": ["a wren"]}, lambda body: body[0]),
    "/v1/embed": ({"texts": ["a wren"]}, lambda body: body["embeddings"][0]),
    "/v2/embed": ({"texts": ["a wren"]}, lambda body: body["embeddings"]["float"][0]),
    "/api/embed": ({"input": ["a wren"]}, lambda body: body["embeddings"][0]),
    "/api/embeddings": ({"prompt": "a wren"}, lambda body: body["embedding"]),
}
PAIR = {"query": "which bird?", "documents": ["a wren"]}
SCORE: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "/v1/rerank": (PAIR, lambda body: [body["results"][0]["relevance_score"]]),
    "/v2/rerank": (PAIR, lambda body: [body["results"][0]["relevance_score"]]),
    "/rerank": (PAIR, lambda body: [body["results"][0]["relevance_score"]]),
    "/score": ({"text_1": "which bird?", "text_2": "a wren"}, lambda body: [body["data"][0]["score"]]),
}
TEI_SCORE = {"/rerank": ({"query": "which bird?", "texts": ["a wren"]}, lambda body: [body[0]["score"]])}
ROUTES = [*EMBED.items(), *SCORE.items(), *TEI_SCORE.items()]
# What gateways add that means nothing here.
OF_GATEWAYS = {
    "user": {"id": 1},
    "metadata": {"user_api_key_user_id": "u", "tags": ["a"]},
    "proxy_server_request": {"url": "http://gateway/", "body": {}},
    "litellm_params": {"api_base": "http://127.0.0.1"},
    "litellm_call_id": "1",
    "drop_params": True,
    "timeout": 600,
    "modality": "text",
    "priority": 0,
    "encoding_format": None,
    "late_chunking": False,
    "some_field": None,
}


@pytest.fixture(scope="module")
def serve(launch_load: Any, starter_dir: Path, tiny_reranker: Path) -> Callable[..., Any]:
    def start(**settings: Any) -> Any:
        judge = ModelEntry("judge", lambda: Reranker(str(tiny_reranker)), task="rerank")
        server = ServerSettings(**settings)
        return launch_load(lambda: Embedder(str(starter_dir)), name="minilm", others=[judge], server=server)

    return start


@pytest.fixture(scope="module")
def client(serve: Callable[..., Any]) -> Iterator[httpx.Client]:
    with serve() as running, httpx.Client(base_url=running.url, timeout=60) as session:
        yield session


@pytest.mark.parametrize(("path", "good"), ROUTES)
def test_what_gateways_add_changes_nothing(client: httpx.Client, path: str, good: Any) -> None:
    body, read = good
    plain, full = client.post(path, json=body), client.post(path, json=OF_GATEWAYS | body)
    assert full.status_code == 200, full.text
    assert read(full.json()) == pytest.approx(read(plain.json()), abs=1e-6)
    expected = [name for name in ("encoding_format", "some_field") if name not in allowed(path)]
    assert full.headers.get(IGNORED, "").split(", ") == expected
    assert IGNORED not in plain.headers


def allowed(path: str) -> tuple[str, ...]:
    return ("encoding_format",) if path.endswith("/embeddings") and not path.startswith("/api") else ()


@pytest.mark.parametrize(("path", "good"), ROUTES)
def test_an_unknown_field_is_named_in_a_short_header(client: httpx.Client, path: str, good: Any) -> None:
    body, read = good
    odd = {"zzz": 1, "Ünïcode\r\nx: y": 2, "q" * 5000: 3, **{f"field_{n}": n for n in range(900)}}
    answer = client.post(path, json=body | odd)
    assert answer.status_code == 200, answer.text
    header = answer.headers[IGNORED]
    assert header.startswith("zzz, ?n?code??x??y, qqqqqqq")
    assert header.endswith(", and 887 more")
    assert header.isascii()
    assert len(header) < 1500
    assert read(answer.json()) == pytest.approx(read(client.post(path, json=body).json()), abs=1e-6)
    many = client.post(path, json=body | {f"field_{n}": n for n in range(1000)})
    assert many.status_code in (400, 422)
    assert "fields; at most 1,000 are taken" in many.text


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("/v1/embeddings", "dimension", "dimensions"),
        ("/v1/embeddings", "dims", "dimensions"),
        ("/v1/embeddings", "inputs", "input"),
        ("/v1/embeddings", "texts", "input"),
        ("/v1/embeddings", "normalise", "normalize"),
        ("/v2/embed", "dimension", "output_dimension"),
        ("/v2/embed", "input", "texts"),
        ("/embed", "dimension", "dimensions"),
        ("/embed", "input", "inputs"),
        ("/api/embed", "dimension", "dimensions"),
        ("/api/embed", "prompt", "input"),
        ("/api/embeddings", "input", "prompt"),
        ("/v1/rerank", "document", "documents"),
        ("/v1/rerank", "texts", "documents"),
        ("/v2/rerank", "top_N", "top_n"),
        ("/score", "text1", "text_1"),
    ],
)
def test_what_is_nearly_a_field_is_refused_with_the_right_name(
    client: httpx.Client, path: str, wrong: str, right: str
) -> None:
    good = dict(ROUTES)[path][0]
    answer = client.post(path, json=good | {wrong: 7})
    assert answer.status_code in (400, 422)
    assert f"Unknown parameter '{wrong}'. Did you mean '{right}'?" in answer.text
    assert client.post(path, json=good | {wrong: None}).status_code == 200


def test_several_mistakes_are_told_at_once(client: httpx.Client) -> None:
    answer = client.post("/v1/embeddings", json={"inputs": "a", "dimension": 3, "zzz": 1})
    message = answer.json()["error"]["message"]
    assert "Unknown parameters 'inputs', 'dimension'." in message
    assert "Did you mean 'input' by 'inputs'? Did you mean 'dimensions' by 'dimension'?" in message
    far = client.post("/v1/embeddings", json={"content": "a"}).json()["error"]
    assert (far["message"], far["param"]) == (
        "'input' is required. The request has 'content', not known here.",
        "input",
    )


def test_strictness_is_a_setting_and_names_all(serve: Callable[..., Any]) -> None:
    with serve(unknown_fields="error") as running, httpx.Client(base_url=running.url, timeout=60) as client:
        for path, (body, _) in ROUTES:
            assert client.post(path, json=body | {"metadata": {}, "user": "u"}).status_code == 200
            answer = client.post(path, json=body | {"zzz": 1, "yyy": 2})
            assert answer.status_code in (400, 422)
            assert "Unknown parameters 'zzz', 'yyy'. Known parameters: " in answer.text
        many = client.post("/v1/embeddings", json={"input": "a"} | {f"field_{n}": n for n in range(900)})
        assert many.status_code == 400
        assert len(many.text) < 2000


def test_each_name_is_logged_once_and_in_plain_words(
    serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with serve() as running, httpx.Client(base_url=running.url, timeout=60) as client:
        for _ in range(3):
            client.post("/v1/embeddings", json={"input": "a", "zzz\n2026 ERROR": 1})
            client.post("/embed", json={"inputs": "a", "zzz\n2026 ERROR": 1, "yyy": 2})
        for start in range(0, 1000, 10):
            client.post("/v1/embeddings", json={"input": "a"} | {f"n{n}": n for n in range(start, start + 10)})
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "fields to /v1/embeddings that are not known here and were not looked at: zzz?2026?ERROR." in warnings[0]
    assert "fields to /embed that are not known here and were not looked at: yyy." in warnings[1]
    assert len(warnings) < 15
    assert not any("\n" in message for message in warnings)


# --- fields and values of other servers that mean something here ------------------------------------------------------


@pytest.fixture(scope="module")
def prompted(launch: Any, tiny_qwen3: Path) -> Iterator[httpx.Client]:
    """A model with a prompt for queries."""
    with launch(tiny_qwen3) as running, httpx.Client(base_url=running.url, timeout=60) as session:
        yield session


def vector(client: httpx.Client, path: str = "/v1/embeddings", **body: Any) -> list[float]:
    good, read = EMBED[path]
    answer = client.post(path, json=good | body)
    assert answer.status_code == 200, answer.text
    assert IGNORED not in answer.headers
    found: list[float] = read(answer.json())
    return found


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/embed", "/v1/embed"])
def test_queries_and_documents_are_known_in_many_words(prompted: httpx.Client, path: str) -> None:
    query = vector(prompted, input_type="query")
    plain = vector(prompted)
    assert query != pytest.approx(plain, abs=1e-3)
    for same in (
        *({"input_type": word} for word in ("query", "search_query")),
        *({"task": word} for word in ("retrieval.query", "nl2code.query", "query")),
    ):
        assert vector(prompted, path, **same) == pytest.approx(query, abs=1e-6), same
    for other in (
        *({"input_type": word} for word in ("document", "passage", "search_document", "classification")),
        *({"task": word} for word in ("retrieval.passage", "text-matching", "embed")),
    ):
        assert vector(prompted, path, **other) == pytest.approx(plain, abs=1e-6), other
    refused = prompted.post(path, json=EMBED[path][0] | {"task": "poetry"})
    assert refused.status_code == 400
    assert "'task' must be 'query', 'document'" in refused.text


def test_dimensions_and_length_have_other_names(client: httpx.Client) -> None:
    for path, theirs, own in (
        ("/v1/embeddings", {"output_dimension": 8, "normalized": False}, {"dimensions": 8, "normalize": False}),
        ("/embed", {"output_dimension": 8, "normalized": False}, {"dimensions": 8, "normalize": False}),
        ("/v2/embed", {"dimensions": 8}, {"output_dimension": 8}),
        ("/api/embed", {"output_dimension": 8}, {"dimensions": 8}),
    ):
        assert vector(client, path, **theirs) == pytest.approx(vector(client, path, **own), abs=1e-6)
        assert len(vector(client, path, **theirs)) == 8
    both = client.post("/v1/embeddings", json={"input": "a", "dimensions": 8, "output_dimension": 9})
    assert both.json()["error"]["message"] == "'output_dimension' and 'dimensions' say different things; send one."
    wrong = client.post("/v1/embeddings", json={"input": "a", "output_dimension": "8"}).json()["error"]
    assert (wrong["param"], wrong["message"].split(";")[0]) == (
        "output_dimension",
        "'output_dimension' must be a valid integer",
    )


LONG, FIRST, LAST = "wren " * 254 + "eagle " * 254, "wren " * 254, "eagle " * 254


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embed", "/v2/embed", "/api/embed"])
def test_long_texts_are_cut_by_any_word_for_it(client: httpx.Client, path: str) -> None:
    name = next(iter(EMBED[path][0]))
    first, last = (vector(client, path, **{name: [text]}) for text in (FIRST, LAST))
    for cut in ({"truncate": "END"}, {"truncate": True}, {"truncation": True}):
        assert vector(client, path, **{name: [LONG]}, **cut) == pytest.approx(first, abs=1e-5)
    assert vector(client, path, **{name: [LONG]}, truncate="START") == pytest.approx(last, abs=1e-5)
    for cut in ({"truncate": "NONE"}, {"truncate": False}, {"truncation": False}):
        assert client.post(path, json={name: [LONG], **cut}).status_code in (400, 422)
    wrong = client.post(path, json={name: [LONG], "truncate": "LEFT"})
    assert wrong.status_code in (400, 422)
    assert "'truncate' must be a boolean, or one of 'END', 'START' and 'NONE'" in wrong.text


def test_texts_are_cut_to_a_number_of_tokens(client: httpx.Client) -> None:
    answer = client.post("/v1/embeddings", json={"input": ["a wren", LONG], "truncate_prompt_tokens": -1})
    assert answer.headers["x-farthing-truncated"] == "1"
    assert answer.json()["data"][1]["embedding"] == pytest.approx(vector(client, input=[FIRST]), abs=1e-5)
    cut = client.post("/v1/embeddings", json={"input": ["a wren", LONG], "truncate_prompt_tokens": 12})
    assert cut.headers["x-farthing-truncated"] == "1"
    assert cut.json()["usage"]["prompt_tokens"] == 4 + 12
    assert cut.json()["data"][1]["embedding"] == pytest.approx(vector(client, input=["wren " * 10]), abs=1e-5)
    again = client.post("/v1/embeddings", json={"input": [LONG], "truncate": True})  # not out of a cache
    assert again.json()["data"][0]["embedding"] == pytest.approx(vector(client, input=[FIRST]), abs=1e-5)
    for odd, part in (
        ({"truncate_prompt_tokens": 2}, "adds 2 special tokens"),
        ({"truncate_prompt_tokens": 9, "truncate": False}, "send one of them"),
        ({"truncate_prompt_tokens": 9, "prompt": "word " * 20}, "prompt"),
        ({"truncate_prompt_tokens": -2}, "at least 1, or -1"),
    ):
        refused = client.post("/v1/embeddings", json={"input": "a wren", **odd})
        assert refused.status_code == 400
        assert part in refused.text
    far = client.post("/v1/embeddings", json={"input": ["a wren"], "truncate_prompt_tokens": 2**62})
    assert far.json()["data"][0]["embedding"] == pytest.approx(vector(client), abs=1e-6)


def test_inputs_may_be_objects_with_a_text(client: httpx.Client) -> None:
    assert vector(client, input=[{"text": "a wren"}]) == pytest.approx(vector(client), abs=1e-6)
    for wrong in ([{"image": "x"}], [{"text": 1}], [{"text": "a"}, "b"], [{"text": None}]):
        assert client.post("/v1/embeddings", json={"input": wrong}).status_code == 400


def test_number_types_are_those_of_cohere(client: httpx.Client) -> None:
    """Voyage's output_dtype and Jina's embedding_type."""
    kinds = ("float", "int8", "uint8", "binary", "ubinary")
    wanted = client.post("/v2/embed", json={"texts": ["a wren"], "embedding_types": kinds}).json()["embeddings"]
    for kind in kinds:
        for name in ("output_dtype", "embedding_type", "embedding_types"):
            assert vector(client, **{name: kind}) == pytest.approx(wanted[kind][0], abs=1e-6)
    packed = vector(client, output_dtype="int8", encoding_format="base64")
    assert np.frombuffer(base64.b64decode(str(packed)), np.int8).tolist() == wanted["int8"][0]
    as_text = vector(client, embedding_type="base64")
    assert np.frombuffer(base64.b64decode(str(as_text)), "<f4") == pytest.approx(wanted["float"][0], abs=1e-6)
    odd = client.post("/v1/embeddings", json={"input": "a", "dimensions": 12, "embedding_type": "binary"})
    assert (odd.status_code, odd.json()["error"]["param"]) == (400, "dimensions")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/embeddings", {"late_chunking": True}),
        ("/v1/embeddings", {"return_multivector": True}),
        ("/v1/embeddings", {"modality": "image"}),
        ("/v1/embeddings", {"add_special_tokens": False}),
        ("/v1/embeddings", {"embed_dtype": "float16"}),
        ("/v1/embeddings", {"truncation_side": "left"}),
        ("/v2/embed", {"images": ["data:image/png;base64,AA=="]}),
        ("/v1/rerank", {"rank_fields": ["title"]}),
    ],
)
def test_what_is_not_done_here_is_refused_and_not_left_out(
    client: httpx.Client, path: str, asked: dict[str, Any]
) -> None:
    (name,) = asked
    answer = client.post(path, json=dict(ROUTES)[path][0] | asked)
    assert answer.status_code == 400
    assert f"'{name}' asks for what this server does not do: " in answer.text


def test_rerankers_know_the_fields_of_their_clients(client: httpx.Client) -> None:
    documents = ["a wren", "a wren in the tree", "yes"]

    def results(path: str = "/v1/rerank", **body: Any) -> Any:
        answer = client.post(path, json={"query": "which bird?", "documents": documents, **body})
        assert answer.status_code == 200, answer.text
        assert IGNORED not in answer.headers
        return answer.json()

    plain = results()
    for same in (
        {"max_tokens_per_doc": None},  # LangChain
        {"max_tokens_per_doc": 4096},  # Haystack
        {"max_chunks_per_doc": 10, "overlap_tokens": 80, "rank_fields": ["text"]},
        {"return_documents": "false", "user": "u", "truncation": True, "priority": 0},
        {"truncate_prompt_tokens": -1, "raw_scores": False, "use_activation": True},
    ):
        for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
            found = results(path, **same)["results"]
            assert [entry.pop("index") for entry in found] == [entry["index"] for entry in plain["results"]]
            for entry, whole in zip(found, plain["results"], strict=True):
                assert entry == {"relevance_score": pytest.approx(whole["relevance_score"], abs=1e-6)}, same
    assert len(results(top_k=2)["results"]) == 2
    cut = results(max_tokens_per_doc=2)  # which the first two do not differ in
    scores = {entry["index"]: entry["relevance_score"] for entry in cut["results"]}
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert scores[2] != pytest.approx(scores[1], abs=1e-6)
    assert results(raw_scores=True)["results"][0]["relevance_score"] == pytest.approx(
        np.log(plain["results"][0]["relevance_score"] / (1 - plain["results"][0]["relevance_score"])), abs=1e-3
    )
    raw = [
        results(**body)["results"][0]["relevance_score"] for body in ({"use_activation": False}, {"raw_scores": True})
    ]
    assert raw[0] == pytest.approx(raw[1], abs=1e-5)
    assert client.post("/v1/rerank", json=PAIR | {"max_tokens_per_doc": 0}).status_code == 400
    assert client.post("/v1/rerank", json=PAIR | {"truncate_prompt_tokens": 3}).status_code == 400
    pair = client.post("/score", json={"text_1": "which bird?", "text_2": "a wren", "raw_scores": True}).json()
    assert pair["data"][0]["score"] == pytest.approx(
        client.post("/score", json={"text_1": "which bird?", "text_2": "a wren", "use_activation": False}).json()[
            "data"
        ][0]["score"],
        abs=1e-6,
    )


def test_a_field_of_ragflow_for_xinference(client: httpx.Client) -> None:
    body = {"model": "judge", "return_documents": "true", "return_len": "true", **PAIR}
    answer = client.post("/v1/rerank", json=body).json()
    assert answer["results"][0]["document"] == {"text": "a wren"}
    assert answer["tokens"]["input_tokens"] + answer["tokens"]["output_tokens"] == answer["usage"]["total_tokens"]
    assert answer["meta"]["tokens"] == answer["tokens"]
