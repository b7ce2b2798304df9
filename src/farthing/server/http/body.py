"""Request bodies: from bytes to JSON to a checked schema, with one precise message when something is wrong.

In: a Starlette request and a pydantic model. Out: an instance of the model, or an `InputError` whose `param` names the
field. The content type is not looked at: clients get it wrong, and the bytes themselves decide.

orjson holds the interpreter's lock while it parses, so that nothing else is answered meanwhile. Two limits bound how
long that takes: on the bytes of a body (`farthing.server.limits.in_flight`), and on its values, which are counted
before it is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, KeysView, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from farthing.core.errors import InputError, RequestTooLargeError
from farthing.core.shown import MAX_SHOWN
from farthing.server.dialects.fields import FieldRules, Fitted, listed, refuse_unknown
from farthing.server.http.request_record import exchange_of

if TYPE_CHECKING:
    from starlette.requests import Request

LARGE_BYTES = 256 * 1024  # a body that takes more than about a millisecond to parse
MAX_OBJECT_KEYS = 1000  # of each object in a list
PIECE_BYTES = 2**20  # that are looked at before other threads get a turn
QUOTE, BACKSLASH = b'"\\'
# A field, a list and an object take about twice as long to parse as a number or a text in a list.
SEPARATORS = {b",": 1, b":": 2, b"[": 2, b"{": 2}
UTF8_MARK = b"\xef\xbb\xbf"
COLLECTIONS = ("list", "dict", "set", "frozenset", "tuple")

JSON_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number that is no 64-bit integer",
    type(None): "null",
}


def fail_fast(schema: Any) -> None:
    """Make every collection in a pydantic schema stop at its first wrong item."""
    if isinstance(schema, dict):
        if schema.get("type") in COLLECTIONS:
            schema["fail_fast"] = True
        for value in schema.values():
            fail_fast(value)
    elif isinstance(schema, list):
        for value in schema:
            fail_fast(value)


class Body(BaseModel):
    """Base of request schemas: no coercion, no unknown fields, and of a long list only the first wrong item is named.

    pydantic would make an error of each wrong item: some kilobytes of memory for each of a million numbers.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        fail_fast(schema)
        return schema


class ClientBody(Body):
    """Base for routes that other servers' clients call; `farthing.server.dialects.fields` judges unknown fields."""

    model_config = ConfigDict(extra="ignore")


Schema = TypeVar("Schema", bound=Body)
T = TypeVar("T")


async def read_body(request: Request, schema: type[Schema]) -> Schema:
    """Return the request's body as `schema`. Raises `InputError`, and `ClientDisconnect` when the sender is gone."""
    return await read_as(request, lambda content: check_object(request, content, schema))


async def read_object(request: Request) -> dict[str, Any]:
    """Return the request's body, for routes that choose a schema by its content. Raises as `read_body`."""
    return await read_as(request, lambda content: content)


async def read_as(request: Request, convert: Callable[[dict[str, Any]], T]) -> T:
    """Return what `convert` makes of the body; a large body is parsed and converted in a thread."""
    # Not `request.body()`, which would keep the bytes for as long as the request.
    raw = await receive_all(request)
    if len(raw) <= LARGE_BYTES:
        return convert(parse_object(raw))
    max_values: int = request.app.state.max_body_values
    return await run_in_threadpool(lambda: convert(parse_large(raw, max_values)))


async def receive_all(request: Request) -> bytes:
    """Return the whole body. Raises `ClientDisconnect`.

    Like `request.stream()`, but a body that arrives at once does not pay the price of a generator.
    """
    parts: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def parse_large(raw: bytes, max_values: int) -> dict[str, Any]:
    """Parse a large body. Raises as `parse_object`, and `RequestTooLargeError` for more than `max_values` values."""
    if has_more_values(raw, max_values):
        raise RequestTooLargeError(
            f"The request body has more than {max_values:,} JSON values; this server takes at most so many. Send the "
            "texts or token ids in several requests, or start the server with a larger --max-body-values."
        )
    content = parse_object(raw)
    for name, value in content.items():
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if type(item) is dict and len(item) > MAX_OBJECT_KEYS:
                place = f"{name[:MAX_SHOWN]}[{index}]"
                raise InputError(
                    f"{place!r} has {len(item):,} fields; at most {MAX_OBJECT_KEYS:,} are taken.", param=place
                )
    return content


def has_more_values(raw: bytes, limit: int) -> bool:
    """Return whether `raw` has more than `limit` values: separators outside of strings, weighed by `SEPARATORS`."""
    pieces = range(0, len(raw), PIECE_BYTES)
    at_most = sum(
        times * raw.count(mark, start, start + PIECE_BYTES) for start in pieces for mark, times in SEPARATORS.items()
    )
    if at_most <= limit:  # most of them, probably, within texts
        return False
    found, in_string, odd_run = 0, False, False
    for start in pieces:
        piece = np.frombuffer(raw, np.uint8, min(PIECE_BYTES, len(raw) - start), start)
        places = np.arange(len(piece), dtype=np.int32)
        # The number of backslashes right before each byte: a quote after an odd number of them is a part of its string.
        last_other = np.maximum.accumulate(np.where(piece != BACKSLASH, places, -1))
        run = places - last_other + (odd_run & (last_other < 0))
        is_escaped = np.concatenate(([odd_run], run[:-1] % 2 == 1))
        is_quote = (piece == QUOTE) & ~is_escaped
        outside = (np.cumsum(is_quote) + in_string) % 2 == 0
        for (mark,), times in SEPARATORS.items():
            found += times * np.count_nonzero((piece == mark) & outside)
        if found > limit:
            return True
        in_string ^= bool(np.count_nonzero(is_quote) % 2)
        odd_run = bool(run[-1] % 2)
    return False


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse `raw`. Raises `InputError` where it is not a JSON object."""
    if not raw:
        raise InputError("The request body is empty; send a JSON object.")
    try:
        content = orjson.loads(memoryview(raw)[len(UTF8_MARK) :] if raw.startswith(UTF8_MARK) else raw)
    except orjson.JSONDecodeError as error:
        raise no_json(raw, error) from None
    if not isinstance(content, dict):
        raise InputError(f"The request body must be a JSON object; got {json_type(content)}.")
    return content


def no_json(raw: bytes, error: orjson.JSONDecodeError) -> InputError:
    try:
        raw.decode()
    except UnicodeDecodeError as wrong:
        return InputError(
            f"The request body is not UTF-8, as JSON has to be: byte 0x{raw[wrong.start]:02x} at {wrong.start}. "
            "Send it in UTF-8."
        )
    return InputError(f"The request body is not valid JSON: {error}")


def check_object(request: Request, content: dict[str, Any], schema: type[Schema]) -> Schema:
    """Return `content` as `schema`, and note the fields that were not looked at for the answer. Raises `InputError`."""
    fitted, known = Fitted(content, {}, ()), names_of(schema)
    if not content.keys() <= known and issubclass(schema, ClientBody):
        rules: FieldRules = request.app.state.field_rules
        fitted = rules.fit(content, known, request.scope["route"].path)
        if fitted.ignored:
            exchange_of(request).ignored = listed(fitted.ignored)
    return as_schema(fitted, schema)


@cache
def names_of(schema: type[Body]) -> KeysView[str]:
    """Return the names of the schema's fields in their order; pydantic takes a microsecond to list them."""
    return dict.fromkeys(schema.model_fields).keys()


def as_schema(fitted: Fitted, schema: type[Schema]) -> Schema:
    """Return the instance of `schema`. Raises `InputError`, which names fields as the client does."""
    if schema.model_config["extra"] == "forbid":
        refuse_unknown(fitted.content, names_of(schema))
    try:
        return schema.model_validate(fitted.content)
    except ValidationError as error:
        raise input_error(error, fitted) from None
    except InputError as error:
        name = fitted.sent_as.get(error.param or "")
        if name is None:
            raise
        raise InputError(str(error).replace(repr(error.param), repr(name)), param=name) from None


def input_error(error: ValidationError, fitted: Fitted) -> InputError:
    """Return pydantic's first finding as one sentence, in the client's own names."""
    findings = error.errors(include_url=False, include_context=False)
    first = findings[0]
    if first["type"] == "missing":
        name = place_of(first["loc"], fitted.sent_as)
        more = f" The request has {listed(fitted.ignored, quoted=True)}, not known here." if fitted.ignored else ""
        return InputError(f"{name!r} is required.{more}", param=name)
    path = within(first["loc"], fitted.content)
    # pydantic reports a finding for each type that the value may have.
    wanted = [finding["msg"] for finding in findings if within(finding["loc"], fitted.content) == path]
    name = place_of(path, fitted.sent_as)
    said = wanted[0].replace("Input should be", "must be", 1)
    others = [f" or {message.removeprefix('Input should be ')}" for message in dict.fromkeys(wanted[1:])]
    return InputError(f"{name!r} {said}{''.join(others)}; got {shown(first['input'])}.", param=name)


def within(loc: tuple[int | str, ...], content: Any) -> tuple[int | str, ...]:
    """Return the part of a finding's place that is in the body: pydantic may add the name of a type that it tried."""
    for depth, part in enumerate(loc):
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            return loc[:depth]
    return loc


def place_of(path: tuple[int | str, ...], sent_as: Mapping[str, str]) -> str:
    """Return a place as clients would write it: `documents[1].text`."""
    first, *rest = path
    return sent_as.get(str(first), str(first)) + "".join(
        f"[{part}]" if type(part) is int else f".{part}" for part in rest
    )


def json_type(value: object) -> str:
    """Return JSON's name for the type of a parsed value, with its article."""
    return JSON_TYPES[type(value)]


def shown(value: object) -> str:
    """Return a short value as it is, and anything else as the name of its JSON type."""
    if isinstance(value, (str, bool, int, float)) and len(repr(value)) <= MAX_SHOWN:
        return orjson.dumps(value).decode()
    return json_type(value)
