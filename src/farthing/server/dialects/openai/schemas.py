"""The bodies that the OpenAI routes take and answer.

`EmbeddingsRequest` checks requests and describes them in the OpenAPI document. The response classes only describe:
answers are written straight from arrays (`farthing.server.dialects.openai.routes`). `parse_inputs` is our own because a
union of four list types would make pydantic report four failures for one mistake.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo

from farthing.core.errors import EmptyInputError, InputError
from farthing.server.dialects.embedding_types import EmbeddingType
from farthing.server.dialects.words import (
    MAX_TOKENS,
    AnyInputType,
    NumTokens,
    Truncate,
    cutting,
    input_type_of,
)
from farthing.server.http.body import ClientBody, json_type
from farthing.serving.request import EmbedRequest

Inputs = list[str] | list[list[int]]
AnyInputs = str | list[str] | list[int] | list[list[int]] | list[dict[str, str]]
ITEMS_AT_A_TIME = 2**16  # whose types are checked before other threads get a turn


def parse_inputs(value: Any, info: ValidationInfo) -> Inputs:
    """Return a text, texts, token ids, or lists of token ids, as a list of texts or a list of lists of token ids.

    Raises `EmptyInputError` for an empty list, and `InputError` for anything else; its `param` is the place of the
    mistake ("input[3][0]").
    """
    name = str(info.field_name)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise InputError(f"{name!r} must be a string or a list; got {json_type(value)}.", param=name)
    if not value:
        raise EmptyInputError(f"{name!r} is an empty list; send at least one text.", param=name)
    first = type(value[0])
    if first is dict:  # Jina's {"text": ...}
        return texts_of(name, value)
    if first is list:
        for index, ids in enumerate(value):
            if type(ids) is not list:
                raise mixed(name, index, ids, "lists of token ids")
            check_items(f"{name}[{index}]", ids, int, "token ids")
        return value
    if first is int:
        check_items(name, value, int, "token ids")
        return [value]
    if first is str:
        check_items(name, value, str, "strings")
        return value
    where = f"{name}[0]"
    raise InputError(
        f"{where!r} is {json_type(value[0])}; {name!r} must hold strings, token ids, or lists of token ids.",
        param=where,
    )


def texts_of(name: str, objects: list[Any]) -> list[str]:
    """Return the texts of objects that hold one text each. Raises `InputError`."""
    texts = []
    for index, item in enumerate(objects):
        where = f"{name}[{index}]"
        if type(item) is not dict:
            raise mixed(name, index, item, "objects with a text")
        if type(item.get("text")) is not str:
            raise InputError(
                f"{where!r} is an object without a string 'text'; {name!r} must hold strings, token ids, lists of "
                "token ids, or objects with a text.",
                param=where,
            )
        texts.append(item["text"])
    return texts


def check_items(place: str, items: list[Any], wanted: type, name: str) -> None:
    if not items:
        raise EmptyInputError(f"{place!r} is an empty list; send at least one token id.", param=place)
    # A set of types is several times faster than a loop, and there may be millions of token ids. The items are taken in
    # pieces, so that the interpreter's lock is given back in between.
    for start in range(0, len(items), ITEMS_AT_A_TIME):
        piece = items[start : start + ITEMS_AT_A_TIME]
        if set(map(type, piece)) != {wanted}:
            index = next(index for index, item in enumerate(piece, start) if type(item) is not wanted)
            raise mixed(place, index, items[index], name)


def mixed(place: str, index: int, item: object, name: str) -> InputError:
    where = f"{place}[{index}]"
    return InputError(f"{where!r} is {json_type(item)}; {place!r} must hold only {name} here.", param=where)


class EmbeddingsRequest(ClientBody):
    """Texts to embed. The fields up to `user` are OpenAI's; the others are Farthing's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "The weather is lovely today."},
                {"input": ["first text", "second text"], "encoding_format": "base64", "dimensions": 256},
                {"input": "how tall is the tower?", "input_type": "query", "truncate": True},
            ]
        }
    )

    input: Annotated[Inputs, PlainValidator(parse_inputs, json_schema_input_type=AnyInputs)] = Field(
        description="A text, a list of texts or of objects with a text, or token ids instead of texts."
    )
    model: str | None = Field(None, description="Name of the served model; missing, null or empty means that model.")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="Vectors as lists of numbers (float, the default) or as base64 of little-endian float32."
    )
    dimensions: int | None = Field(
        None, description="Length of the vectors (default: the model's full length).", json_schema_extra={"minimum": 1}
    )
    user: Any = Field(None, description="Accepted and not used.")
    instruction: str | None = Field(None, description="Task description, put into the model's own template.")
    prompt_name: str | None = Field(None, description="Name of a prompt stored with the model.")
    prompt: str | None = Field(None, description="Text put before every input as it is.")
    input_type: AnyInputType | None = Field(
        None, description="What the inputs are, in the words of several servers; picks the model's prompt for it."
    )
    truncate: Truncate = Field(
        None,
        description="Cut inputs longer than the context instead of refusing them (default: the server's setting): true "
        "or END at their ends, START at their beginnings.",
    )
    truncate_prompt_tokens: NumTokens = Field(None, description=MAX_TOKENS)
    output_dtype: EmbeddingType | None = Field(
        None, description="Number type of the vectors (default: float); base64 is as in encoding_format."
    )
    normalize: bool | None = Field(None, description="Vectors of length 1 (default: true).")

    @property
    def as_base64(self) -> bool:
        return "base64" in (self.encoding_format, self.output_dtype)

    def to_embed_request(self) -> EmbedRequest:
        cut = cutting(self.truncate, self.truncate_prompt_tokens)
        return EmbedRequest(
            inputs=self.input,
            prompt=self.prompt,
            prompt_name=self.prompt_name,
            instruction=self.instruction,
            input_type=input_type_of(self.input_type),
            dimensions=self.dimensions,
            normalize=self.normalize is not False,
            truncate=cut.truncate,
            truncate_from=cut.truncate_from,
            max_tokens=cut.max_tokens,
        )


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class PromptTokensDetails(BaseModel):
    cached_tokens: int = Field(description="Of prompt_tokens, those not computed, because other texts have them too.")


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class EmbeddingsResponse(BaseModel):
    """One embedding per input, in the order of the inputs."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.019, -0.038, 0.121]}],
                "model": "all-MiniLM-L6-v2",
                "usage": {
                    "prompt_tokens": 8,
                    "total_tokens": 8,
                    "prompt_tokens_details": {"cached_tokens": 0},
                },
            }
        }
    )


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[Model]


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class ErrorResponse(BaseModel):
    error: ErrorDetail
