"""The bodies that Ollama's routes take and answer.

The request classes check bodies and describe them in the OpenAPI document; the response classes only describe.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo

from farthing.core.errors import InputError
from farthing.server.dialects.rerank.schemas import parse_texts
from farthing.server.dialects.words import Truncate, cutting
from farthing.server.http.body import ClientBody
from farthing.serving.request import EmbedRequest

MODEL = "Name of a served model, with or without :latest; missing or empty means the one that there is."
UNUSED = "Accepted and not used."


def parse_input(value: Any, info: ValidationInfo) -> list[str]:
    """Return a text or texts as a list, empty for null, an empty text or an empty list. Raises `InputError`."""
    if value in (None, "", []):
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise InputError("'input' must be a string or a list of strings.", param="input")
    return parse_texts(value, info)


class OllamaEmbedBody(ClientBody):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": ["Why is the sky blue?", "Why is grass green?"]}]}
    )

    input: Annotated[list[str], PlainValidator(parse_input, json_schema_input_type=str | list[str] | None)] = Field(
        default_factory=list, description="A text, or texts."
    )
    model: str | None = Field(None, description=MODEL)
    truncate: Truncate = Field(None, description="Cut the end of texts longer than the context (default: true).")
    dimensions: int | None = Field(None, description="Length of the vectors; 0 means all.")
    options: dict[str, Any] | None = Field(None, description=UNUSED)
    keep_alive: float | str | None = Field(None, description=UNUSED)

    def to_request(self) -> EmbedRequest:
        cut = cutting(True if self.truncate is None else self.truncate)
        dimensions = self.dimensions or None
        return EmbedRequest(self.input, dimensions=dimensions, truncate=cut.truncate, truncate_from=cut.truncate_from)


class OllamaPromptBody(ClientBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "Why is the sky blue?"}]})

    prompt: str | None = Field(None, description="A text.")
    model: str | None = Field(None, description=MODEL)
    options: dict[str, Any] | None = Field(None, description=UNUSED)
    keep_alive: float | str | None = Field(None, description=UNUSED)

    def to_request(self) -> EmbedRequest:
        """Return a request for a vector as the model makes it: Ollama does not scale the vectors of this route."""
        return EmbedRequest([self.prompt or ""], normalize=False, truncate=True)


class OllamaShowBody(ClientBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{"model": ""}]})

    model: str | None = Field(None, description=MODEL)
    name: str | None = Field(None, description="What older clients call it.")


class OllamaEmbedResponse(BaseModel):
    """Durations are in nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaPromptResponse(BaseModel):
    embedding: list[float]


class OllamaDetails(BaseModel):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModel(BaseModel):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: OllamaDetails


class OllamaModels(BaseModel):
    models: list[OllamaModel]


class OllamaRunning(OllamaModel):
    expires_at: str
    size_vram: int
    context_length: int


class OllamaRunningModels(BaseModel):
    models: list[OllamaRunning]


class OllamaShowResponse(BaseModel):
    modelfile: str
    parameters: str
    template: str
    details: OllamaDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class OllamaVersion(BaseModel):
    version: str


class OllamaError(BaseModel):
    error: str
