"""What the routes of indexes take and answer.

The request classes check bodies and describe them in the OpenAPI document; the response classes only describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from farthing.core.errors import EmptyInputError
from farthing.server.body import Body
from farthing.toolkit.documents.document import PLAIN_TEXT, Document
from farthing.toolkit.index.hybrid import Blend
from farthing.toolkit.index.search import Query
from farthing.toolkit.stores.where import MAX_CONDITION_CHARS, MAX_CONDITIONS, parse_conditions

MAX_RESULTS = 1000
MAX_ID_CHARS = 1024

Number = int | float


class CreateIndexBody(Body):
    """A new index for the vectors of one of the served models."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "help"}, {"name": "shop", "dimensions": 256}]})

    name: str = Field(description="1 to 64 letters, digits, dots, dashes and underscores.")
    model: str | None = Field(None, description="Name of the served model; missing, null or empty means that model.")
    dimensions: int | None = Field(
        None, description="Length of the kept vectors (default: the model's).", json_schema_extra={"minimum": 1}
    )
    max_tokens: int | None = Field(None, description="Most tokens of a passage (default: 384, or the model's context).")
    overlap_tokens: int | None = Field(None, description="Tokens that neighbours share (default: an eighth).")


class DocumentBody(Body):
    """A document as a whole; it is split into passages here."""

    id: str = Field(
        description="What is added under the same id takes its place.", min_length=1, max_length=MAX_ID_CHARS
    )
    text: str = Field(description="All of it.")
    title: str = Field("", description="Shown with its passages and embedded before each of them.")
    source: str = Field("", description="Where it came from, for readers.")
    kind: str = Field(PLAIN_TEXT, description="What it is: text, markdown, or a programming language such as python.")
    metadata: Mapping[str, bool | Number | str] = Field({}, description="Further fields, which a search can ask for.")

    def to_document(self) -> Document:
        return Document(self.id, self.text, self.title, self.source, kind=self.kind, metadata=dict(self.metadata))


class AddDocumentsBody(Body):
    """Documents for an index; those that it holds as they are cost nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "documents": [
                        {
                            "id": "p1",
                            "title": "Forgotten password",
                            "text": "Open the settings and choose a new password.",
                            "metadata": {"year": 2026},
                        }
                    ]
                }
            ]
        }
    )

    documents: list[DocumentBody] = Field(description="At least one.")

    def to_documents(self) -> list[Document]:
        """Raises `EmptyInputError` when there are none."""
        if not self.documents:
            raise EmptyInputError("'documents' is an empty list; send at least one document.", param="documents")
        return [document.to_document() for document in self.documents]


class DeleteDocumentsBody(Body):
    """Documents to take out, by their ids."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["p1"]}]})

    ids: list[str] = Field(description="Of documents; those that are not there are passed over.")


class SearchBody(Body):
    """A question to an index."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "how do I change my password?"},
                {"query": "rain coat", "k": 5, "mode": "hybrid", "where": ["price <= 80", "in_stock = true"]},
            ]
        }
    )

    query: str = Field(description="What to search for.")
    k: int = Field(10, description="How many results.", ge=1, le=MAX_RESULTS)
    mode: Literal["hybrid", "vector", "keyword"] = Field(
        "hybrid", description="By meaning and by words, by meaning, or by words."
    )
    where: list[str] = Field(
        [],
        description=f"At most {MAX_CONDITIONS} conditions on fields, such as 'price <= 20', of at most "
        f"{MAX_CONDITION_CHARS} characters each; all must hold.",
    )
    vector_weight: Number = Field(0.6, description="Of the cosine in hybrid; the rest is the words'.", ge=0, le=1)
    fusion: Literal["sum", "ranks"] = Field("sum", description="How both scores become one.")
    rerank: bool | str = Field(False, description="Order the best anew with the served reranker, or the one named.")
    instruction: str | None = Field(None, description="The task in words, for models that take one with a query.")
    all_passages: bool = Field(False, description="Several passages of a document (default: the best of each).")

    def to_query(self) -> Query:
        """Raises `InputError` for a condition that is none, and `EmptyInputError` for an empty query."""
        return Query(
            self.query,
            self.k,
            self.mode,
            parse_conditions(self.where),
            Blend(self.fusion, self.vector_weight),
            self.instruction,
            self.all_passages,
        )


class IndexCard(BaseModel):
    name: str
    object: Literal["index"]
    model: str
    space: str
    dimensions: int
    max_tokens: int
    overlap_tokens: int
    num_documents: int
    num_passages: int
    num_unindexed: int
    num_bytes: int


class BrokenIndexCard(BaseModel):
    """An index that cannot be used; it can be removed."""

    name: str
    object: Literal["broken_index"]
    code: str
    message: str


class IndexList(BaseModel):
    object: Literal["list"]
    data: list[IndexCard]
    broken: list[BrokenIndexCard]


class AddedCard(BaseModel):
    """What became of the documents."""

    new: int
    replaced: int
    unchanged: int
    passages: int


class DeletedCard(BaseModel):
    deleted: int


class RemovedCard(BaseModel):
    """`kept`, where it is given, names what else is in the index's folder; it stays, and the folder with it."""

    deleted: int
    kept: list[str] = []


class ResultCard(BaseModel):
    """A passage; `marks` are the places in `excerpt` of words that match."""

    id: str
    document: str
    score: float
    cosine: float | None
    bm25: float | None
    relevance: float | None
    title: str
    heading: str
    source: str
    text: str
    start: int
    end: int
    metadata: dict[str, Any]
    excerpt: str
    marks: list[list[int]]


class ResultList(BaseModel):
    object: Literal["list"]
    data: list[ResultCard]
