"""The dialect of text-embeddings-inference (TEI): /embed, /embed_all, /similarity, /tokenize, /decode, /info, POST /.

In: TEI's request bodies. Out: its response bodies, errors and timing headers, as its router/src/http/server.rs has
them. Sparse vectors (/embed_sparse) are refused, as TEI refuses what a model does not do. `farthing.server.admin`
answers /health. The path /rerank belongs to other dialects too (`rerank`); `rerank_texts` answers it for TEI's clients.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from farthing.core.errors import WrongTaskError
from farthing.server.dialects import answer as work
from farthing.server.dialects import local_models as local
from farthing.server.dialects.route import request_body
from farthing.server.dialects.tei.errors import ERRORS, NOT_WORK, TIME_HEADERS, UNKNOWN_MODEL, TeiRoute, time_headers
from farthing.server.dialects.tei.info import model_info
from farthing.server.dialects.tei.schemas import (
    DecodeBody,
    EmbedBody,
    Info,
    SimilarityBody,
    SimpleToken,
    TextsBody,
    TokenizeBody,
    TokensBody,
)
from farthing.server.dialects.writing import count_chars, json_rows, respond
from farthing.server.http.body import check_object, read_body, read_object
from farthing.server.models.service import Service
from farthing.serving.request import RerankResult, Urgency
from farthing.serving.text.tokenizer import Token

TOKENS_AT_A_TIME = 1024  # that are written before the interpreter's lock is given back


def router(service: Service, checks: Sequence[Any]) -> APIRouter:
    """Return the routes of this dialect over `service`, each with the dependencies `checks`."""
    routes = APIRouter(tags=["text-embeddings-inference"], route_class=TeiRoute, dependencies=checks)

    async def embed_body(request: Request, body: EmbedBody) -> Response:
        started_s = time.perf_counter()
        answer = await work.embed(service, request, body.to_request(), None)
        result, num_chars = answer.result, count_chars(body.inputs)
        times = time_headers(started_s, num_chars, result, local.compute_type(service))
        headers = work.embed_headers(answer) | times
        return await respond(lambda: json_rows(result.vectors), result.vectors.size, headers)

    async def compare_body(request: Request, body: SimilarityBody) -> Response:
        started_s, wanted = time.perf_counter(), body.to_request()
        answer = await work.embed(service, request, wanted, None)
        vectors = answer.result.vectors
        cosines = vectors[1:] @ vectors[0]
        times = time_headers(started_s, count_chars(wanted.inputs), answer.result, local.compute_type(service))
        return await respond(cosines.tolist, len(cosines), work.embed_headers(answer) | times)

    async def embed(request: Request) -> Response:
        """Returns one vector per input, in order."""
        return await embed_body(request, await read_body(request, EmbedBody))

    async def similarity(request: Request) -> Response:
        """Returns the cosine between one sentence and each of the other sentences."""
        return await compare_body(request, await read_body(request, SimilarityBody))

    async def root(request: Request) -> Response:
        """Answers as /embed does. A body as for /similarity or /rerank is answered as it is there."""
        content = await read_object(request)
        if isinstance(content.get("inputs"), dict):
            return await compare_body(request, check_object(request, content, SimilarityBody))
        if "texts" in content:
            return await rerank_texts(service, request, content)
        return await embed_body(request, check_object(request, content, EmbedBody))

    async def embed_all(request: Request) -> Response:
        """Returns the last hidden state of each token of each input, special tokens too; neither pooled nor
        normalised."""
        body = await read_body(request, TokensBody)
        started_s = time.perf_counter()
        answer = await work.embed(service, request, body.to_request(), None)
        result = answer.result
        times = time_headers(started_s, count_chars(body.inputs), result, local.compute_type(service))
        num_numbers = result.num_tokens * result.space.dimensions
        headers = work.embed_headers(answer) | times
        return await respond(lambda: list(map(json_rows, result.vectors)), num_numbers, headers)

    async def embed_sparse(request: Request) -> Response:
        """Refused: no model of this server has SPLADE pooling."""
        await read_body(request, TokensBody)
        raise WrongTaskError("Model is not an embedding model with SPLADE pooling; POST /embed for dense vectors.")

    async def tokenize(request: Request) -> Response:
        """Returns the tokens of each text, as the model is given them; nothing is cut."""
        body = await read_body(request, TokenizeBody)
        embedder = local.embedder_of(service)

        async def tokens(urgency: Urgency) -> tuple[list[bytes], int]:
            return await embedder.tokenize_async(
                body.inputs,
                write_tokens,
                prompt_name=body.prompt_name,
                add_special_tokens=body.add_special_tokens,
                lane=urgency.lane,
            )

        written = await work.list_tokens(service, request, tokens)
        return Response(b"[" + b",".join(written) + b"]", media_type="application/json")

    async def decode(request: Request) -> Response:
        """Returns the texts that token ids stand for."""
        body = await read_body(request, DecodeBody)
        embedder = local.embedder_of(service)

        async def texts(urgency: Urgency) -> tuple[list[str], int]:
            skips = body.skip_special_tokens
            return await embedder.decode_async(body.ids, skip_special_tokens=skips, lane=urgency.lane)

        found = await work.list_tokens(service, request, texts)
        return Response(orjson.dumps(found), media_type="application/json")

    async def info() -> dict[str, object]:
        return model_info(service)

    def add(path: str, handler: Any, summary: str, schema: Any, answers: Any, headers: Any = None) -> None:
        """Add a route; only routes that have texts computed have `headers`."""
        good: dict[int | str, Any] = {200: {"model": answers, "headers": headers or {}}} if answers else {}
        errors: dict[int | str, Any] = {**(ERRORS if headers else NOT_WORK)}
        routes.add_api_route(
            path,
            handler,
            methods=["POST"],
            summary=summary,
            response_model=None,
            responses={**good, **errors, **(UNKNOWN_MODEL if path == "/" else {})},
            openapi_extra=request_body(schema),
        )

    add("/embed", embed, "Embed texts", EmbedBody, list[list[float]], TIME_HEADERS)
    add("/similarity", similarity, "Compare sentences", SimilarityBody, list[float], TIME_HEADERS)
    add("/tokenize", tokenize, "Tokenise texts", TokenizeBody, list[list[SimpleToken]])
    add("/decode", decode, "Decode token ids", DecodeBody, list[str])
    add("/", root, "Embed texts (at the root)", EmbedBody, list[list[float]], TIME_HEADERS)
    add("/embed_all", embed_all, "Embed the tokens of texts", TokensBody, list[list[list[float]]], TIME_HEADERS)
    add("/embed_sparse", embed_sparse, "Sparse vectors (refused)", TokensBody, None)
    facts: dict[int | str, dict[str, Any]] = {200: {"model": Info}, 503: ERRORS[503]}
    routes.add_api_route("/info", info, methods=["GET"], summary="Model", response_model=None, responses=facts)
    return routes


def write_tokens(tokens: Sequence[Token]) -> bytes:
    """Return the tokens of a text as JSON."""
    parts = (tokens[start : start + TOKENS_AT_A_TIME] for start in range(0, len(tokens), TOKENS_AT_A_TIME))
    return b"[" + b",".join(orjson.dumps([token._asdict() for token in part])[1:-1] for part in parts) + b"]"


async def rerank_texts(service: Service, request: Request, content: dict[str, Any]) -> Response:
    """Return TEI's answer to `content`, a body with a query and texts. Raises what `work.rerank` raises."""
    started_s = time.perf_counter()
    body = check_object(request, content, TextsBody)
    answer = await work.rerank(service, request, body.to_request(), body.model)
    num_chars = count_chars(body.texts) + len(body.query) * len(body.texts)
    times = time_headers(started_s, num_chars, answer.result, local.compute_type(service))
    headers = work.truncated_header(answer.result.truncated) | times
    return await respond(lambda: ranks(answer.result, body), len(body.texts), headers)


def ranks(result: RerankResult, body: TextsBody) -> list[dict[str, object]]:
    """Return the scored texts, best first."""
    entries: list[dict[str, object]] = []
    for ranked in result.ranking():
        entry: dict[str, object] = {"index": ranked.index, "score": ranked.logit if body.raw_scores else ranked.score}
        if body.return_text:
            entry["text"] = body.texts[ranked.index]
        entries.append(entry)
    return entries
