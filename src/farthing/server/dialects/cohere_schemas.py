"""What Cohere's embed routes take and answer.

The request class checks bodies and describes them in the OpenAPI document; the response classes only describe.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo

from farthing.core.errors import InputError
from farthing.server.body import Body
from farthing.server.dialects.embedding_types import EmbeddingType
from farthing.server.dialects.rerank_schemas import MODEL, Texts
from farthing.serving.request import EmbedRequest, InputType

CohereInputType = Literal["search_query", "search_document", "classification", "clustering"]
INPUT_TYPES: dict[CohereInputType, InputType] = {"search_query": "query", "search_document": "document"}
REFUSED = {
    "images": "This server embeds texts and no images; send texts.",
    "inputs": "This server embeds texts and no mixed inputs; send their texts as texts.",
    "max_tokens": "This server cuts texts to the model's context and to no other length; leave max_tokens out.",
}


def refuse(value: Any, info: ValidationInfo) -> None:
    """Raises `InputError` for anything but null."""
    if value is not None:
        raise InputError(REFUSED[str(info.field_name)], param=info.field_name)


Refused = Annotated[None, PlainValidator(refuse, json_schema_input_type=None)]


class CohereEmbedBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"texts": ["hello", "goodbye"], "input_type": "search_document", "embedding_types": ["float", "int8"]}
            ]
        }
    )

    texts: Texts = Field(description="The texts to embed.")
    model: str | None = Field(None, description=MODEL)
    input_type: CohereInputType | None = Field(
        None, description="Picks the model's prompt for queries or documents; its default prompt for the others."
    )
    embedding_types: list[EmbeddingType] | None = Field(None, description='Number types (default: ["float"]).')
    output_dimension: int | None = Field(None, description="Length of the vectors.", json_schema_extra={"minimum": 1})
    truncate: Literal["NONE", "START", "END"] | None = Field(
        None, description="Which end of texts longer than the context is cut (default: END); NONE refuses them."
    )
    priority: int | None = Field(None, description="Accepted and not used.")
    images: Refused = Field(None, description="Refused.")
    inputs: Refused = Field(None, description="Refused.")
    max_tokens: Refused = Field(None, description="Refused.")

    @property
    def types(self) -> list[EmbeddingType]:
        """Each once."""
        return list(dict.fromkeys(self.embedding_types or ["float"]))

    def to_request(self) -> EmbedRequest:
        return EmbedRequest(
            inputs=self.texts,
            input_type=INPUT_TYPES.get(self.input_type) if self.input_type else None,
            dimensions=self.output_dimension,
            truncate=self.truncate != "NONE",
            truncate_from="start" if self.truncate == "START" else "end",
        )


class CohereEmbeddings(BaseModel):
    """Of the types asked for, one entry a text; base64 is of little-endian float32."""

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
    """Of /v1/embed when no types are asked for."""

    id: str
    response_type: Literal["embeddings_floats"]
    embeddings: list[list[float]]
    texts: list[str]
    meta: dict[str, dict[str, Any]]


class CohereError(BaseModel):
    message: str
