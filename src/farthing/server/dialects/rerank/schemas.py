"""The bodies that the routes that score pairs take and answer.

The request classes check bodies and describe them in the OpenAPI document; the response classes only describe.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator, ValidationInfo

from farthing.core.errors import EmptyInputError, InputError
from farthing.server.dialects.openai.schemas import Usage
from farthing.server.dialects.words import Flag, NumTokens, Truncate, cutting
from farthing.server.http.body import ClientBody, json_type
from farthing.serving.request import RerankRequest, check_top_n

MODEL = "Name of the served model; missing, null or empty means that model."
INSTRUCTION = "The task in words, for models that take one (default: the model's own)."
TRUNCATE = "Cut documents longer than the context (default: true); false refuses them. Queries are never cut."
MAX_PAIR_TOKENS = "Cut documents so that a pair has so many tokens; -1 is the context's length."
EXAMPLE_QUERY = "What is the capital of China?"
EXAMPLE_DOCUMENTS: list[JsonValue] = ["The capital of China is Beijing.", "Gravity is a force."]


def parse_texts(value: Any, info: ValidationInfo) -> list[str]:
    """Return a list of strings. Raises `InputError`, whose `param` is the place of the mistake ("documents[3]")."""
    name = info.field_name
    if not isinstance(value, list):
        raise InputError(f"{name!r} must be a list of strings; got {json_type(value)}.", param=name)
    if not value:
        raise EmptyInputError(f"{name!r} is an empty list; send at least one text.", param=name)
    for index, item in enumerate(value):
        if type(item) is not str:
            where = f"{name}[{index}]"
            raise InputError(f"{where!r} is {json_type(item)}; it must be a string.", param=where)
    return value


def parse_documents(value: Any, info: ValidationInfo) -> list[str]:
    """Return strings, or objects with a string `text`, as strings. Raises `InputError`."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict) and not isinstance(item.get("text"), str):
                where = f"{info.field_name}[{index}]"
                raise InputError(f"{where!r} is an object without a string 'text'.", param=where)
        value = [item["text"] if isinstance(item, dict) else item for item in value]
    return parse_texts(value, info)


def parse_side(value: Any, info: ValidationInfo) -> list[str] | None:
    """Return a string or strings as a list, and null as None. Raises `InputError`."""
    if value is None:
        return None
    return [value] if isinstance(value, str) else parse_texts(value, info)


Texts = Annotated[list[str], PlainValidator(parse_texts, json_schema_input_type=list[str])]
Documents = Annotated[list[str], PlainValidator(parse_documents, json_schema_input_type=list[str | dict[str, str]])]
Side = Annotated[list[str] | None, PlainValidator(parse_side, json_schema_input_type=str | list[str])]


class RerankBody(ClientBody):
    """A query and documents, as Cohere and Jina take them; `truncate` is Farthing's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": EXAMPLE_QUERY, "documents": EXAMPLE_DOCUMENTS},
                {"query": EXAMPLE_QUERY, "documents": EXAMPLE_DOCUMENTS, "top_n": 1, "return_documents": True},
            ]
        }
    )

    query: str = Field(description="What the documents are to answer.")
    documents: Documents = Field(description="Texts, or objects with a text.")
    model: str | None = Field(None, description=MODEL)
    top_n: int | None = Field(None, description="How many results (default: all).", json_schema_extra={"minimum": 1})
    return_documents: Flag = Field(None, description="Repeat each document in its result (default: false).")
    return_len: Flag = Field(None, description="Repeat the number of tokens where Xinference has it (default: false).")
    raw_scores: bool | None = Field(None, description="Logits instead of scores from 0 to 1 (default: false).")
    instruction: str | None = Field(None, description=INSTRUCTION)
    truncate: Truncate = Field(None, description=TRUNCATE)
    truncate_prompt_tokens: NumTokens = Field(None, description=MAX_PAIR_TOKENS)
    max_tokens_per_doc: int | None = Field(
        None, description="Cut documents to so many tokens.", json_schema_extra={"minimum": 1}
    )

    def to_request(self) -> RerankRequest:
        """Return the request. Raises `InputError` for a `top_n` or a number of tokens under 1."""
        check_top_n(self.top_n)
        pairs = [(self.query, text) for text in self.documents]
        cut = cutting(self.truncate, self.truncate_prompt_tokens)
        return RerankRequest(
            pairs,
            self.instruction,
            cut.truncate,
            cut.truncate_from,
            max_tokens=cut.max_tokens,
            max_document_tokens=self.max_tokens_per_doc,
        )


class ScoreBody(ClientBody):
    """Pairs, as vLLM takes them: one text with each of several others, or as many first texts as second ones."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text_1": EXAMPLE_QUERY, "text_2": EXAMPLE_DOCUMENTS},
                {"queries": [EXAMPLE_QUERY, "Explain gravity"], "documents": EXAMPLE_DOCUMENTS},
            ]
        }
    )

    text_1: Side = Field(None, description="A query, or queries.")
    text_2: Side = Field(None, description="A document, or documents.")
    queries: Side = Field(None, description="Another name of text_1, with documents.")
    documents: Side = Field(None, description="Another name of text_2, with queries.")
    model: str | None = Field(None, description=MODEL)
    use_activation: bool | None = Field(None, description="Scores from 0 to 1 (default: true); false gives logits.")
    instruction: str | None = Field(None, description=INSTRUCTION)
    truncate: Truncate = Field(None, description=TRUNCATE)
    truncate_prompt_tokens: NumTokens = Field(None, description=MAX_PAIR_TOKENS)

    def to_request(self) -> RerankRequest:
        """Return the request. Raises `InputError` when the texts make no pairs."""
        first, second = self.text_1 or self.queries, self.text_2 or self.documents
        num_given = sum(side is not None for side in (self.text_1, self.text_2, self.queries, self.documents))
        if num_given != 2 or first is None or second is None or (self.text_1 is None) != (self.text_2 is None):
            raise InputError("Send text_1 and text_2, or queries and documents.", param="text_1")
        if len(first) == 1:
            first = first * len(second)
        if len(first) != len(second):
            raise InputError(
                f"There are {len(first)} first texts and {len(second)} second ones; send a single first text, or as "
                "many of both.",
                param="text_2",
            )
        cut = cutting(self.truncate, self.truncate_prompt_tokens)
        pairs = list(zip(first, second, strict=True))
        return RerankRequest(pairs, self.instruction, cut.truncate, cut.truncate_from, max_tokens=cut.max_tokens)


class RerankedDocument(BaseModel):
    text: str


class RerankResultEntry(BaseModel):
    index: int
    relevance_score: float
    document: RerankedDocument | None = None


class RerankResponse(BaseModel):
    """The results, best first; scores are from 0 to 1."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "5f0c...",
                "model": "Qwen3-Reranker-0.6B",
                "results": [{"index": 0, "relevance_score": 0.999}, {"index": 1, "relevance_score": 0.001}],
                "usage": {
                    "prompt_tokens": 180,
                    "total_tokens": 180,
                    "prompt_tokens_details": {"cached_tokens": 74},
                },
                "meta": {"tokens": {"input_tokens": 180, "output_tokens": 0}},
            }
        }
    )

    id: str
    model: str
    results: list[RerankResultEntry]
    usage: Usage
    meta: dict[str, dict[str, int]]


class Score(BaseModel):
    index: int
    object: Literal["score"]
    score: float


class ScoreResponse(BaseModel):
    """One score per pair, in the order of the pairs."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "5f0c...",
                "object": "list",
                "created": 1700000000,
                "model": "Qwen3-Reranker-0.6B",
                "data": [{"index": 0, "object": "score", "score": 0.999}],
                "usage": {
                    "prompt_tokens": 90,
                    "total_tokens": 90,
                    "prompt_tokens_details": {"cached_tokens": 0},
                },
            }
        }
    )

    id: str
    object: Literal["list"]
    created: int
    model: str
    data: list[Score]
    usage: Usage
