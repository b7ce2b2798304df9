"""Values of fields in the terms of several servers: the type of the inputs, and how those that are too long are cut.

In: values as clients send them. Out: values of `farthing.serving`, or an `InputError` that says what is wanted.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import PlainValidator, ValidationInfo

from farthing.core.errors import InputError
from farthing.server.http.body import shown
from farthing.serving.request import InputType, TextEnd

# Our words, NVIDIA's and Cohere's. A type that is neither a query nor a document gets the model's default prompt.
AnyInputType = Literal[
    "query", "document", "passage", "search_query", "search_document", "classification", "clustering"
]
INPUT_TYPES: dict[AnyInputType, InputType] = {
    "query": "query",
    "search_query": "query",
    "document": "document",
    "search_document": "document",
    "passage": "document",
}
# NVIDIA's and Cohere's words for the end that is cut.
Cut = Literal["END", "START", "NONE"]
ALL_TOKENS = -1  # vLLM's value for as many tokens as the context has
MAX_TOKENS = (
    "Cut inputs to so many tokens, special tokens and prompts included; -1 is the context's length, as truncate."
)


def input_type_of(word: AnyInputType | None) -> InputType | None:
    return None if word is None else INPUT_TYPES.get(word)


def parse_truncate(value: Any, info: ValidationInfo) -> Any:
    """Return `value`. Raises `InputError` where it is not a `Truncate`."""
    if value is None or isinstance(value, bool) or value in get_args(Cut):
        return value
    raise InputError(
        f"{info.field_name!r} must be a boolean, or one of 'END', 'START' and 'NONE'; got {shown(value)}.",
        param=info.field_name,
    )


def parse_flag(value: Any, info: ValidationInfo) -> bool | None:
    """Return a boolean, which RAGFlow sends to Xinference's route as a text. Raises `InputError`."""
    if value is None or isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise InputError(f"{info.field_name!r} must be a boolean; got {shown(value)}.", param=info.field_name)


def parse_num_tokens(value: Any, info: ValidationInfo) -> int | None:
    """Return `value`. Raises `InputError` where it is not a number of tokens."""
    if value is None or (type(value) is int and (value >= 1 or value == ALL_TOKENS)):
        return value
    raise InputError(
        f"{info.field_name!r} must be a number of tokens, at least 1, or -1 for the context's length; got "
        f"{shown(value)}.",
        param=info.field_name,
    )


Truncate = Annotated[bool | Cut | None, PlainValidator(parse_truncate, json_schema_input_type=bool | Cut | None)]
Flag = Annotated[bool | None, PlainValidator(parse_flag, json_schema_input_type=bool | Literal["true", "false"] | None)]
NumTokens = Annotated[int | None, PlainValidator(parse_num_tokens, json_schema_input_type=int | None)]


class Cutting(NamedTuple):
    """How inputs that are too long are cut, in the fields of `EmbedRequest` and `RerankRequest`."""

    truncate: bool | None
    truncate_from: TextEnd
    max_tokens: int | None


def cutting(truncate: bool | Cut | None, max_tokens: int | None = None, *, at_start: bool = False) -> Cutting:
    """Return how to cut by the values of a request.

    Raises `InputError` where a number of tokens is given although nothing may be cut.
    """
    if max_tokens is not None:
        if truncate is False or truncate == "NONE":
            raise InputError(
                "truncate says that nothing is cut, and truncate_prompt_tokens how much is left; send one of them.",
                param="truncate_prompt_tokens",
            )
        truncate = truncate or True
    cuts = truncate != "NONE" if isinstance(truncate, str) else truncate
    end: TextEnd = "start" if at_start or truncate == "START" else "end"
    return Cutting(cuts, end, None if max_tokens == ALL_TOKENS else max_tokens)
