"""One upstream over HTTP: a body goes out, an answer comes in, or one of three kinds of failure.

`farthing.upstream.vectors` and `farthing.upstream.reranker` decide what an answer means; `farthing.upstream.pool`
decides which upstream is asked, and how often.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import orjson

from farthing.core.errors import SettingsError, UpstreamInputError, UpstreamLengthError
from farthing.core.waiting import within
from farthing.upstream.answer import (
    ACCEPTED,
    ERROR_BYTES,
    AttemptBusyError,
    AttemptFailedError,
    UpstreamAnswer,
    read_answer,
)

CONNECT_S = 5.0
HEALTH_S = 10.0
DEFAULT_REST_S = 1.0  # after a 429 that does not say how long
KEEPALIVE_S = 2.0  # below uvicorn's 5 s, so that a connection is rarely closed just when it is used again
REFUSED = (400, 413, 422)  # statuses that blame the input
MOST_CONTEXT = 2**31 - 1  # tokens of one text, as a list of models may give them
MAX_SHOWN = 300  # characters of an upstream's own words
LENGTH_CODE = b'"context_length_exceeded"'  # OpenAI's; its quotes keep a text that is shown again from matching
LENGTH_WORDS = re.compile(
    r"context[ _](length|size|window)|too (long|large)|tokens? limit|(less|fewer) than \d+ tokens|maximum\b.*\btokens"
    r"|at most \d+ characters",
    re.IGNORECASE,
)


class UpstreamClient:
    """
    Attributes:
        base: the upstream's URL up to and with /v1.
        as_base64: whether vectors are asked for as base64; some servers do not know that.
        counts_characters: whether what the upstream calls tokens are characters, as with Infinity.
        is_farthing: whether it takes our own fields; None until it has answered.
    """

    def __init__(self, url: str, http: httpx.AsyncClient, timeout_s: float) -> None:
        self.base = parse_url(url)
        self._http, self._timeout_s = http, timeout_s
        self.as_base64 = True
        self.counts_characters = False
        self.is_farthing: bool | None = None

    @property
    def name(self) -> str:
        """The URL without anything secret, for logs."""
        return str(self.base.copy_with(userinfo=b"", query=None))

    @property
    def root(self) -> httpx.URL:
        """The URL without /v1, under which servers have what is not OpenAI's."""
        return self.base.copy_with(path=self.base.path.removesuffix("/v1") or "/")

    async def post(self, url: httpx.URL, body: dict[str, Any], max_bytes: int) -> UpstreamAnswer:
        """The answer to `body`. It fails when the answer has more than `max_bytes`.

        Raises:
            AttemptFailedError, AttemptBusyError: another upstream may answer.
            UpstreamInputError: the upstream refuses what was sent; others would too.
        """
        request = self._http.build_request(
            "POST", url, content=orjson.dumps(body), headers={"content-type": "application/json"}
        )
        answer = await self._answer(request, self._timeout_s, max_bytes)
        if answer.is_success:
            return answer
        said = words(answer)
        if answer.status == 429:
            raise AttemptBusyError(rest_s(answer))
        is_too_long = LENGTH_CODE in answer.content or LENGTH_WORDS.search(said) is not None
        if answer.status in REFUSED or (answer.status == 500 and is_too_long):  # llama.cpp's 500
            kind = UpstreamLengthError if is_too_long else UpstreamInputError
            raise kind(f"The server that computes this model refused the input: {said}", param="input")
        raise AttemptFailedError(f"answered {answer.status}", detail=said)

    async def check_alive(self) -> None:
        """Raise `AttemptFailedError` when nothing answers. Not every server has /health: a 404 is an answer."""
        url = self.root.copy_with(path=self.root.path.rstrip("/") + "/health")
        answer = await self._answer(self._http.build_request("GET", url), HEALTH_S, ERROR_BYTES)
        if answer.is_server_error:
            raise AttemptFailedError(f"answered {answer.status} to /health", detail=words(answer))

    async def max_tokens(self, model: str) -> int | None:
        """The most tokens of one text, as SGLang and vLLM give them in their lists of models; None where not given."""
        try:
            request = self._http.build_request("GET", at(self.base, "models"))
            answer = await self._answer(request, HEALTH_S, ERROR_BYTES)
            cards = {card["id"]: card for card in orjson.loads(answer.content)["data"]}
            value = cards[model]["max_model_len"]
        except (AttemptFailedError, KeyError, TypeError, ValueError):
            return None
        return value if type(value) is int and 0 < value <= MOST_CONTEXT else None

    async def _answer(self, request: httpx.Request, timeout_s: float, max_bytes: int) -> UpstreamAnswer:
        async def ask() -> UpstreamAnswer:
            response = await self._http.send(request, stream=True)
            try:
                return await read_answer(response, max_bytes)
            finally:
                await response.aclose()

        try:
            return await within(timeout_s, ask())
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise AttemptFailedError("cannot be reached", detail=str(error), is_gone=True) from error
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            raise AttemptFailedError(f"gave no answer within {timeout_s:g} s", is_gone=True) from error
        except httpx.RequestError as error:
            raise AttemptFailedError("broke off", detail=str(error)) from error


def http_client(api_key: str | None) -> httpx.AsyncClient:
    """A client with connections to any number of upstreams. `UpstreamClient` limits the time of whole answers."""
    key = {"authorization": f"Bearer {api_key}"} if api_key else {}
    return httpx.AsyncClient(
        headers={"accept-encoding": ACCEPTED, **key},
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEEPALIVE_S),
        trust_env=False,  # what is asked must depend on the settings alone
    )


def parse_url(url: str) -> httpx.URL:
    """The parsed URL of an upstream. Raises `SettingsError`."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise SettingsError(f"upstream {url!r} is no URL: {error}", param="upstream") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingsError(f"upstream is {url!r}; it must be a URL such as http://host:8000/v1", param="upstream")
    return parsed.copy_with(path=parsed.path.rstrip("/") or "/")


def at(url: httpx.URL, path: str) -> httpx.URL:
    """`path` below `url`."""
    return url.copy_with(path=f"{url.path.rstrip('/')}/{path}")


def rest_s(answer: UpstreamAnswer) -> float:
    """The seconds that Retry-After asks for. Its other form, a date, is not read."""
    try:
        return max(0.0, float(answer.headers.get("retry-after", "")))
    except ValueError:
        return DEFAULT_REST_S


def words(answer: UpstreamAnswer) -> str:
    """What an error's body says, in whichever of the usual shapes."""
    try:
        content = orjson.loads(answer.content)
    except ValueError:
        return answer.content[: 4 * MAX_SHOWN].decode(errors="replace")[:MAX_SHOWN]
    for _ in range(3):  # {"error": {"message": ...}}, {"error": ...}, {"message": ...}, {"detail": [{"msg": ...}]}
        if isinstance(content, dict):
            content = next((content[key] for key in ("error", "message", "detail", "msg") if key in content), content)
        elif isinstance(content, list) and content:
            content = content[0]
    return (content if isinstance(content, str) else orjson.dumps(content).decode())[:MAX_SHOWN]
