"""The good answer of each route, in words and by an example, for the OpenAPI document and the page made from it.

There is one row per route, by method and path. A description that the route has itself is kept; a route whose schema
has an example needs none here. tests/http/test_openapi_answers.py checks every row against a live server.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]

OTHERWISE = "Successful Response"  # FastAPI's words where a route has none
VECTOR = [0.019, -0.038, 0.121]
MODEL = {"id": "all-MiniLM-L6-v2", "object": "model", "created": 1700000000, "owned_by": "farthing"}
INDEX = {
    "name": "help",
    "object": "index",
    "model": "all-MiniLM-L6-v2",
    "space": "9c41d0a2b7e35f68",
    "dimensions": 384,
    "max_tokens": 248,
    "overlap_tokens": 31,
    "num_documents": 12,
    "num_passages": 40,
    "num_unindexed": 0,
    "num_bytes": 262144,
}
OLLAMA_DETAILS = {
    "parent_model": "",
    "format": "",
    "family": "bert",
    "families": ["bert"],
    "parameter_size": "",
    "quantization_level": "none",
}
OLLAMA_MODEL = {
    "name": "all-MiniLM-L6-v2:latest",
    "model": "all-MiniLM-L6-v2:latest",
    "modified_at": "2026-11-01T12:00:00+00:00",
    "size": 90000000,
    "digest": "4f1c...",
    "details": OLLAMA_DETAILS,
}


class Told(NamedTuple):
    """A row; `example` is None where the schema has one, or where the answer is not JSON."""

    words: str
    example: Any = None


ANSWERS: dict[tuple[str, str], Told] = {
    ("GET", "/v1/models"): Told("The models and routes that this server has.", {"object": "list", "data": [MODEL]}),
    ("GET", "/v1/models/{name}"): Told("That model.", MODEL),
    ("POST", "/rerank"): Told(
        "The texts, the best first.", [{"index": 1, "score": 0.998}, {"index": 0, "score": 0.02}]
    ),
    ("POST", "/embed"): Told("One vector an input, in order.", [VECTOR]),
    ("POST", "/"): Told("One vector an input, in order.", [VECTOR]),
    ("POST", "/similarity"): Told("The cosine of each sentence with the first one.", [0.73, 0.11]),
    ("POST", "/embed_all"): Told("For each input a vector of every token.", [[VECTOR, VECTOR]]),
    ("POST", "/embed_sparse"): Told("Never: no model of this server makes sparse vectors."),
    ("POST", "/tokenize"): Told(
        "The tokens of each text, in order.",
        [
            [
                {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
                {"id": 7592, "text": "hello", "special": False, "start": 0, "stop": 5},
            ]
        ],
    ),
    ("POST", "/decode"): Told("One text for each list of token ids.", ["hello"]),
    ("GET", "/info"): Told(
        "The model that the server was started for, and the limits.",
        {
            "model_id": "all-MiniLM-L6-v2",
            "model_sha": None,
            "model_dtype": "float32",
            "served_model_name": "all-MiniLM-L6-v2",
            "model_type": {"embedding": {"pooling": "mean"}},
            "max_concurrent_requests": 10000,
            "max_input_length": 256,
            "max_batch_tokens": 16384,
            "max_batch_requests": None,
            "max_client_batch_size": 8192,
            "auto_truncate": False,
            "tokenization_workers": 2,
            "version": "0.1.0",
            "sha": None,
            "docker_label": None,
        },
    ),
    ("POST", "/v2/embed"): Told(
        "The vectors in each type that was asked for, one a text.",
        {
            "id": "5f0c...",
            "texts": ["hello"],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 3}},
            "response_type": "embeddings_by_type",
            "embeddings": {"float": [VECTOR]},
        },
    ),
    ("POST", "/v1/embed"): Told(
        "The vectors, one a text; by type where types are asked for.",
        {
            "id": "5f0c...",
            "texts": ["hello"],
            "meta": {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 3}},
            "response_type": "embeddings_floats",
            "embeddings": [VECTOR],
        },
    ),
    ("POST", "/api/embed"): Told(
        "One vector a text, in order; durations are in nanoseconds.",
        {
            "model": "all-MiniLM-L6-v2",
            "embeddings": [VECTOR],
            "total_duration": 2500000,
            "load_duration": 0,
            "prompt_eval_count": 3,
        },
    ),
    ("POST", "/api/embeddings"): Told("The text's vector.", {"embedding": VECTOR}),
    ("POST", "/api/show"): Told(
        "What is known of the model.",
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": OLLAMA_DETAILS,
            "model_info": {"general.architecture": "bert", "bert.context_length": 256, "bert.embedding_length": 384},
            "capabilities": ["embedding"],
            "modified_at": "2026-11-01T12:00:00+00:00",
        },
    ),
    ("GET", "/api/tags"): Told("The models that make vectors, loaded or not.", {"models": [OLLAMA_MODEL]}),
    ("GET", "/api/ps"): Told(
        "Those of them that are loaded.",
        {
            "models": [
                {**OLLAMA_MODEL, "expires_at": "9999-12-31T23:59:59Z", "size_vram": 0, "context_length": 256},
            ]
        },
    ),
    ("GET", "/api/version"): Told("The version of Farthing.", {"version": "0.1.0"}),
    ("GET", "/v1/indexes"): Told(
        "The indexes, and those that cannot be used, with the reason.",
        {
            "object": "list",
            "data": [INDEX],
            "broken": [
                {"name": "old", "object": "broken_index", "code": "index_unreadable", "message": "A file is cut off."}
            ],
        },
    ),
    ("POST", "/v1/indexes"): Told("The index that was made.", {**INDEX, "num_documents": 0, "num_passages": 0}),
    ("GET", "/v1/indexes/{name}"): Told("What the index is and holds.", INDEX),
    ("DELETE", "/v1/indexes/{name}"): Told("It is removed.", {"deleted": 1}),
    ("POST", "/v1/indexes/{name}/documents"): Told(
        "All documents of the request are in the index.", {"new": 1, "replaced": 0, "unchanged": 2, "passages": 4}
    ),
    ("POST", "/v1/indexes/{name}/documents/delete"): Told("How many of them there were.", {"deleted": 1}),
    ("POST", "/v1/indexes/{name}/compact"): Told("What the index is and holds now.", INDEX),
    ("POST", "/v1/indexes/{name}/search"): Told(
        "Passages, the best first.",
        {
            "object": "list",
            "data": [
                {
                    "id": "p1#0",
                    "document": "p1",
                    "score": 0.956,
                    "cosine": 0.62,
                    "bm25": 6.57,
                    "relevance": None,
                    "title": "Forgotten password",
                    "heading": "",
                    "source": "",
                    "text": "Open the settings and choose a new password.",
                    "start": 0,
                    "end": 44,
                    "metadata": {"year": 2026, "tags": ["account", "login"]},
                    "excerpt": "Open the settings and choose a new password.",
                    "marks": [[35, 43]],
                }
            ],
        },
    ),
    ("GET", "/health"): Told(
        "Requests can be answered now.",
        {
            "status": "ready",
            "model": "all-MiniLM-L6-v2",
            "dimensions": 384,
            "context_length": 256,
            "space": "9c41d0a2b7e35f68",
        },
    ),
    ("GET", "/metrics"): Told("Figures in Prometheus's or OpenMetrics' text format, as the Accept header asks."),
}


def tell_answer(method: str, path: str, operation: Json) -> None:
    """Put the route's row into its operation."""
    told, good = ANSWERS.get((method, path)), operation["responses"].get("200")
    if told is None or good is None:
        return
    if good["description"] == OTHERWISE:
        good["description"] = told.words
    if told.example is not None and "application/json" in good.get("content", {}):
        good["content"]["application/json"]["example"] = told.example
