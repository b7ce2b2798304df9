"""Request bodies: bytes to JSON to a checked schema, with one precise message when something is wrong.

In: a Starlette request and a pydantic model. Out: an instance of it, or an `InputError` whose `param` names the field.
The content type is not looked at: clients get it wrong, and what the bytes are decides.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool

from farthing.core.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request

LARGE_BYTES = 256 * 1024  # a body that takes more than about a millisecond to parse
MAX_SHOWN = 64  # characters of a client's own words that a message repeats

JSON_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number that is no 64-bit integer",
    type(None): "null",
}


class Body(BaseModel):
    """Base of request schemas: no coercion, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LenientBody(Body):
    """Of dialects whose own servers do not look at fields they do not know."""

    model_config = ConfigDict(extra="ignore")


Schema = TypeVar("Schema", bound=Body)


async def read_body(request: Request, schema: type[Schema]) -> Schema:
    """The request's body as `schema`. Raises `InputError`, and `ClientDisconnect` when the sender is gone."""
    raw = await request.body()
    if len(raw) > LARGE_BYTES:
        return await run_in_threadpool(parse_body, raw, schema)
    return parse_body(raw, schema)


async def read_object(request: Request) -> dict[str, Any]:
    """The request's body, for routes that choose its schema by what is in it. Raises as `read_body`."""
    raw = await request.body()
    return await run_in_threadpool(parse_object, raw) if len(raw) > LARGE_BYTES else parse_object(raw)


def parse_body(raw: bytes, schema: type[Schema]) -> Schema:
    """`raw` as `schema`. Raises `InputError`."""
    return check_object(parse_object(raw), schema)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Raises `InputError` for what is no JSON object."""
    if not raw:
        raise InputError("The request body is empty; send a JSON object.")
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InputError(f"The request body is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"The request body must be a JSON object; got {json_type(content)}.")
    return content


def check_object(content: dict[str, Any], schema: type[Schema]) -> Schema:
    """`content` as `schema`. Raises `InputError`."""
    if schema.model_config["extra"] == "forbid":
        check_names(content, list(schema.model_fields))
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise input_error(error) from None


def check_names(content: dict[str, Any], known: list[str]) -> None:
    for name in content:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known parameters: {', '.join(known)}."
            shown_name = name[:MAX_SHOWN]
            raise InputError(f"Unknown parameter {shown_name!r}. {hint}", param=shown_name)


def input_error(error: ValidationError) -> InputError:
    """Pydantic's first finding, as one sentence."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return InputError(f"{name!r} is required.", param=name)
    wanted = first["msg"].replace("Input should be", "must be", 1)
    return InputError(f"{name!r} {wanted}; got {shown(first['input'])}.", param=name)


def json_type(value: object) -> str:
    """What JSON calls a value that came out of its parser, with its article."""
    return JSON_TYPES[type(value)]


def shown(value: object) -> str:
    """A short value as it is, anything else as its JSON type."""
    if isinstance(value, (str, bool, int, float)) and len(repr(value)) <= MAX_SHOWN:
        return orjson.dumps(value).decode()
    return json_type(value)
