"""The bodies that Cohere's embed routes take and answer.

The request class checks bodies and describes them in the OpenAPI document; the response classes only describe.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo

from farthing.core.errors import InputError
from farthing.server.dialects.embedding_types import EmbeddingType
from farthing.server.dialects.rerank.schemas import MODEL, parse_texts
from farthing.server.dialects.words import AnyInputType, Truncate, cutting, input_type_of
from farthing.server.http.body import ClientBody, json_type
from farthing.serving.request import EmbedRequest


def parse_inputs(value: Any) -> list[str] | None:
    """Return the texts of Cohere's mixed inputs. Raises `InputError` where an input holds anything else."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise InputError(f"'inputs' must be a list of objects; got {json_type(value)}.", param="inputs")
    texts = []
    for index, item in enumerate(value):
        parts = item.get("content") if isinstance(item, dict) else None
        found = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        if not found or len(found) != len(parts or ()) or not all(isinstance(text, str) for text in found):
            raise InputError(
                f"'inputs[{index}]' must have a content of texts alone; this server embeds texts and no images.",
                param=f"inputs[{index}]",
            )
        texts.append("\n".join(map(str, found)))
    return texts


def parse_some_texts(value: Any, info: ValidationInfo) -> list[str] | None:
    return None if value is None else parse_texts(value, info)


SomeTexts = Annotated[list[str] | None, PlainValidator(parse_some_texts, json_schema_input_type=list[str] | None)]
TextInputs = Annotated[
    list[str] | None, PlainValidator(parse_inputs, json_schema_input_type=list[dict[str, Any]] | None)
]


class CohereEmbedBody(ClientBody):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"texts": ["hello", "goodbye"], "input_type": "search_document", "embedding_types": ["float", "int8"]}
            ]
        }
    )

    texts: SomeTexts = Field(None, description="The texts to embed.")
    inputs: TextInputs = Field(None, description="Instead of texts, objects with a content of texts.")
    model: str | None = Field(None, description=MODEL)
    input_type: AnyInputType | None = Field(
        None, description="Picks the model's prompt for queries or documents; its default prompt for the others."
    )
    embedding_types: list[EmbeddingType] | None = Field(None, description='Number types (default: ["float"]).')
    output_dimension: int | None = Field(None, description="Length of the vectors.", json_schema_extra={"minimum": 1})
    truncate: Truncate = Field(
        None, description="Which end of texts longer than the context is cut (default: END); NONE refuses them."
    )
    max_tokens: int | None = Field(
        None,
        description="Most tokens of a text, special tokens and prompts included; longer ones go by truncate.",
        json_schema_extra={"minimum": 1},
    )
    priority: int | None = Field(None, description="Accepted and not used.")

    @property
    def types(self) -> list[EmbeddingType]:
        """The number types that are asked for, each once."""
        return list(dict.fromkeys(self.embedding_types or ["float"]))

    @property
    def all_texts(self) -> list[str]:
        """The texts to embed. Raises `InputError` when there are none, or two lists of them."""
        if (self.texts is None) == (self.inputs is None):
            what = "is required" if self.texts is None else "and 'inputs' were given together; send one of them"
            raise InputError(f"'texts' {what}.", param="texts")
        return self.texts or self.inputs or []

    def to_request(self) -> EmbedRequest:
        cut = cutting("END" if self.truncate is None else self.truncate)
        return EmbedRequest(
            inputs=self.all_texts,
            input_type=input_type_of(self.input_type),
            dimensions=self.output_dimension,
            truncate=cut.truncate,
            truncate_from=cut.truncate_from,
            max_tokens=self.max_tokens,
        )


class CohereEmbeddings(BaseModel):
    """The vectors in the types asked for, one entry per text; base64 is of little-endian float32."""

    model_config = ConfigDict(populate_by_name=True)

    float_: list[list[float]] | None = Field(None, alias="float")
    int8: list[list[int]] | None = None
    uint8: list[list[int]] | None = None
    binary: list[list[int]] | None = None
    ubinary: list[list[int]] | None = None
    base64: list[str] | None = None


class CohereEmbedResponse(BaseModel):
    id: str
    response_type: Literal["embeddings_by_type"]
    embeddings: CohereEmbeddings
    texts: list[str]
    meta: dict[str, dict[str, Any]]


class CohereFloatsResponse(BaseModel):
    """The answer of /v1/embed when no types are asked for."""

    id: str
    response_type: Literal["embeddings_floats"]
    embeddings: list[list[float]]
    texts: list[str]
    meta: dict[str, dict[str, Any]]


class CohereError(BaseModel):
    message: str
