"""The bodies that the routes of text-embeddings-inference take and answer.

The shapes are those of its router/src/http/types.rs. The request classes check bodies and describe them in the OpenAPI
document; the response classes only describe.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo

from farthing.core.errors import EmptyInputError, InputError
from farthing.server.dialects.openai.schemas import AnyInputs, Inputs, check_items, parse_inputs
from farthing.server.dialects.rerank.schemas import INSTRUCTION, MODEL, Texts
from farthing.server.dialects.words import Truncate, cutting
from farthing.server.http.body import ClientBody, json_type
from farthing.serving.request import EmbedRequest, RerankRequest

Direction = Literal["right", "Right", "left", "Left"]
TRUNCATE = "Cut inputs longer than the context instead of refusing them (default: the server's setting)."
DIRECTION = "Which end is cut (default: right)."
PROMPT_NAME = "Name of a prompt stored with the model."
Start = ConfigDict(json_schema_extra={"examples": [{"inputs": "What is Deep Learning?"}]})


def is_left(direction: Direction | None) -> bool:
    return direction is not None and direction.lower() == "left"


def parse_texts(value: Any, info: ValidationInfo) -> list[str]:
    """Return a text or texts as a list. Raises `InputError`."""
    inputs = parse_inputs(value, info)
    if not isinstance(inputs[0], str):
        raise InputError(f"{info.field_name!r} must be a string or strings; got token ids.", param=info.field_name)
    return inputs


def parse_ids(value: Any, info: ValidationInfo) -> list[list[int]]:
    """Return token ids, or lists of them, as a list of lists. Raises `InputError`."""
    name = str(info.field_name)
    if not isinstance(value, list):
        raise InputError(f"{name!r} must be a list of token ids; got {json_type(value)}.", param=name)
    if not value:
        raise EmptyInputError(f"{name!r} is an empty list; send at least one token id.", param=name)
    lists = value if isinstance(value[0], list) else [value]
    for index, ids in enumerate(lists):
        if not isinstance(ids, list):
            raise InputError(f"'{name}[{index}]' must be a list of token ids; got {json_type(ids)}.", param=name)
        check_items(f"{name}[{index}]" if lists is value else name, ids, int, "token ids")
    return lists


AnyInput = Annotated[Inputs, PlainValidator(parse_inputs, json_schema_input_type=AnyInputs)]
TextInput = Annotated[list[str], PlainValidator(parse_texts, json_schema_input_type=str | list[str])]
IdInput = Annotated[list[list[int]], PlainValidator(parse_ids, json_schema_input_type=list[int] | list[list[int]])]


class TokensBody(ClientBody):
    """What /embed_all and /embed_sparse take."""

    model_config = Start

    inputs: AnyInput = Field(description="A text, texts, or token ids instead of texts.")
    truncate: Truncate = Field(None, description=TRUNCATE)
    truncation_direction: Direction = Field("right", description=DIRECTION)
    prompt_name: str | None = Field(None, description=PROMPT_NAME)

    def to_request(self) -> EmbedRequest:
        cut = cutting(self.truncate, at_start=is_left(self.truncation_direction))
        return EmbedRequest(
            inputs=self.inputs,
            prompt_name=self.prompt_name,
            normalize=False,
            truncate=cut.truncate,
            truncate_from=cut.truncate_from,
            per_token=True,
        )


class EmbedBody(TokensBody):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": "What is Deep Learning?"},
                {"inputs": ["first text", "second text"], "truncate": True, "dimensions": 256},
            ]
        }
    )

    normalize: bool = Field(True, description="Vectors of length 1 (default: true).")
    dimensions: int | None = Field(None, description="Length of the vectors.", json_schema_extra={"minimum": 1})

    def to_request(self) -> EmbedRequest:
        cut = cutting(self.truncate, at_start=is_left(self.truncation_direction))
        return EmbedRequest(
            inputs=self.inputs,
            prompt_name=self.prompt_name,
            dimensions=self.dimensions,
            normalize=self.normalize,
            truncate=cut.truncate,
            truncate_from=cut.truncate_from,
        )


class SimilarityInputs(ClientBody):
    source_sentence: str = Field(description="What the others are compared with.")
    sentences: Texts = Field(description="The others.")


class SimilarityParameters(ClientBody):
    truncate: Truncate = Field(None, description=TRUNCATE)
    truncation_direction: Direction = Field("right", description=DIRECTION)
    prompt_name: str | None = Field(None, description=PROMPT_NAME)


class SimilarityBody(ClientBody):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": {"source_sentence": "A happy bird", "sentences": ["A glad bird", "A sad bird", "A car"]}}
            ]
        }
    )

    inputs: SimilarityInputs = Field(description="A sentence, and those that it is compared with.")
    parameters: SimilarityParameters | None = Field(None, description="How the sentences are embedded.")

    def to_request(self) -> EmbedRequest:
        """Return a request for vectors of length 1, with the source sentence first."""
        parameters = self.parameters or SimilarityParameters.model_validate({})
        cut = cutting(parameters.truncate, at_start=is_left(parameters.truncation_direction))
        return EmbedRequest(
            inputs=[self.inputs.source_sentence, *self.inputs.sentences],
            prompt_name=parameters.prompt_name,
            truncate=cut.truncate,
            truncate_from=cut.truncate_from,
        )


class TokenizeBody(ClientBody):
    model_config = Start

    inputs: TextInput = Field(description="A text, or texts.")
    add_special_tokens: bool = Field(True, description="With those that the model is given (default: true).")
    prompt_name: str | None = Field(None, description=PROMPT_NAME)


class DecodeBody(ClientBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [1, 2, 3]}]})

    ids: IdInput = Field(description="Token ids, or lists of them.")
    skip_special_tokens: bool = Field(True, description="Leave special tokens out (default: true).")


class TextsBody(ClientBody):
    """A query and texts to score; `instruction` and `model` are Farthing's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "What is the capital of China?",
                    "texts": ["The capital of China is Beijing.", "Gravity is a force."],
                    "raw_scores": True,
                }
            ]
        }
    )

    query: str = Field(description="What the texts are to answer.")
    texts: Texts = Field(description="What is scored.")
    model: str | None = Field(None, description=MODEL)
    raw_scores: bool | None = Field(None, description="Logits instead of scores from 0 to 1 (default: false).")
    return_text: bool | None = Field(None, description="Repeat each text in its result (default: false).")
    truncate: Truncate = Field(None, description="Cut texts longer than the context (default: true).")
    truncation_direction: Direction | None = Field(None, description=DIRECTION)
    instruction: str | None = Field(None, description=INSTRUCTION)

    def to_request(self) -> RerankRequest:
        pairs = [(self.query, text) for text in self.texts]
        cut = cutting(self.truncate, at_start=is_left(self.truncation_direction))
        return RerankRequest(pairs, self.instruction, cut.truncate, cut.truncate_from)


class TextScore(BaseModel):
    index: int
    score: float
    text: str | None = None


class SimpleToken(BaseModel):
    """`start` and `stop` are positions in the text's UTF-8 bytes; they are null for special tokens."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Info(BaseModel):
    model_id: str
    model_sha: str | None
    model_dtype: str
    served_model_name: str
    model_type: dict[str, dict[str, Any]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None


class TeiError(BaseModel):
    error: str
    error_type: Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer", "Empty"]
