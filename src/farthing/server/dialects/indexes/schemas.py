"""The bodies that the routes of indexes take and answer.

The request classes check bodies and describe them in the OpenAPI document; the response classes only describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from farthing.core.errors import EmptyInputError, InputError
from farthing.core.shown import MAX_SHOWN
from farthing.server.http.body import Body, json_type
from farthing.toolkit.documents.document import PLAIN_TEXT, Document
from farthing.toolkit.documents.limits import (
    MAX_ID_CHARS,
    MAX_LIST_VALUES,
    MAX_METADATA_FIELDS,
    MAX_SOURCE_CHARS,
    MAX_TEXT_CHARS,
    MAX_TITLE_CHARS,
    check_ids,
    checked,
)
from farthing.toolkit.documents.values import words_of
from farthing.toolkit.index.hybrid import Blend
from farthing.toolkit.index.search import MAX_QUERY_CHARS, MAX_RESULTS, Query
from farthing.toolkit.stores.where import MAX_CONDITION_CHARS, MAX_CONDITIONS, parse_conditions

MAX_DOCUMENTS, MAX_IDS = 1_024, 10_000
PLAIN_TYPES = (str, int, float, bool, type(None))  # null is treated as if the field were left out

Number = int | float
Plain = bool | Number | str | None


# pydantic makes an error of each wrong item, of which only the first is reported. So lists are checked before pydantic
# sees them.


def check_length(name: str, value: Any, most: int) -> list[Any]:
    """Return `value`. Raises `InputError` where it is not a list of at most `most` items."""
    if not isinstance(value, list):
        raise InputError(f"{name!r} must be a list; got {json_type(value)}.", param=name)
    if len(value) > most:
        raise InputError(
            f"{name!r} has {len(value):,} items; one request takes at most {most:,}. Send several requests.", param=name
        )
    return value


def check_item(place: str, value: object, kinds: tuple[type, ...], wanted: str) -> None:
    if type(value) not in kinds:
        raise InputError(f"{place!r} must be {wanted}; got {json_type(value)}.", param=place)


def check_texts(value: Any, info: ValidationInfo) -> Any:
    """Return `value`. Raises `InputError` where it is not a list of strings, or is too long."""
    name = str(info.field_name)
    for index, item in enumerate(check_length(name, value, MAX_CONDITIONS)):
        check_item(f"{name}[{index}]", item, (str,), "a string")
    return value


def check_ids_sent(value: Any, info: ValidationInfo) -> list[str]:
    """Return the ids as texts. Raises `InputError` if `value` is not a list of texts and integers, or is too long."""
    name = str(info.field_name)
    for index, item in enumerate(check_length(name, value, MAX_IDS)):
        check_item(f"{name}[{index}]", item, (str, int), "a string or an integer")
    return list(map(words_of, value))


def check_documents(value: Any) -> Any:
    """Return the documents with ids that are texts. Raises `InputError` where `value` is not a list of objects with the
    fields of a document, or is too long."""
    found = []
    for index, item in enumerate(check_length("documents", value, MAX_DOCUMENTS)):
        place = f"documents[{index}]"
        check_item(place, item, (dict,), "an object")
        unknown = next((name for name in item if name not in DocumentBody.model_fields), None)
        if unknown is not None:
            raise InputError(
                f"Unknown field {unknown[:MAX_SHOWN]!r} in {place!r}; a document has "
                f"{', '.join(DocumentBody.model_fields)}. Fields of your own go into metadata.",
                param=f"{place}.{unknown[:MAX_SHOWN]}",
            )
        check_metadata(f"{place}.metadata", item.get("metadata"))
        if "id" in item:
            check_item(f"{place}.id", item["id"], (str, int), "a string or an integer")
            item = {**item, "id": words_of(item["id"])}
        found.append(item)
    return found


def check_metadata(place: str, value: Any) -> None:
    if value is None:
        return
    check_item(place, value, (dict,), "an object")
    if len(value) > MAX_METADATA_FIELDS:
        raise InputError(
            f"{place!r} has {len(value):,} fields; at most {MAX_METADATA_FIELDS} are taken. Leave out those that no "
            "search asks for.",
            param=place,
        )
    for name, item in value.items():
        field = f"{place}.{name[:MAX_SHOWN]}"
        check_item(field, item, (*PLAIN_TYPES, list), "a string, a number, a boolean, or a list of these")
        if isinstance(item, list):
            check_values(field, item)


def check_values(place: str, values: list[Any]) -> None:
    num = len(values) - values.count(None)
    if num > MAX_LIST_VALUES:
        raise InputError(
            f"{place!r} has {num:,} values; at most {MAX_LIST_VALUES} are taken. Leave out those that no search asks "
            "for.",
            param=place,
        )
    for index, item in enumerate(values):
        if type(item) not in PLAIN_TYPES:
            check_item(f"{place}[{index}]", item, PLAIN_TYPES, "a string, a number, or a boolean")


def at_most(num: int, what: str = "maxLength") -> dict[str, Any]:
    """Return a limit for the schema; the toolkit refuses what is beyond it, in its own words."""
    return {what: num}


class CreateIndexBody(Body):
    """A new index for the vectors of one of the served models."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "help"}, {"name": "shop", "dimensions": 256}]})

    name: str = Field(description="1 to 64 letters (a-z, A-Z), digits, dots, dashes and underscores.")
    model: str | None = Field(None, description="Name of the served model; missing, null or empty means that model.")
    dimensions: int | None = Field(
        None, description="Length of the kept vectors (default: the model's).", json_schema_extra={"minimum": 1}
    )
    max_tokens: int | None = Field(None, description="Most tokens of a passage (default: 384, or the model's context).")
    overlap_tokens: int | None = Field(None, description="Tokens that neighbours share (default: an eighth).")


PlainList = Annotated[list[Plain], Field(json_schema_extra=at_most(MAX_LIST_VALUES, "maxItems"))]
# The ids that clients may send; `check_documents` and `check_ids_sent` have made texts of them.
INTEGER = {"type": "integer"}
AnyId = Annotated[str, WithJsonSchema({"anyOf": [{"type": "string"}, INTEGER]})]
NewId = Annotated[
    str, WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, **at_most(MAX_ID_CHARS)}, INTEGER]})
]


class DocumentBody(Body):
    """A document as a whole; the server splits it into passages."""

    id: NewId = Field(
        description="What is added under the same id takes its place. An integer is its decimal text.", min_length=1
    )
    text: str = Field(description="All of it.", json_schema_extra=at_most(MAX_TEXT_CHARS))
    title: str | None = Field(
        "",
        description="Shown with its passages and embedded before each of them.",
        json_schema_extra=at_most(MAX_TITLE_CHARS),
    )
    source: str | None = Field(
        "", description="Where it came from, for readers.", json_schema_extra=at_most(MAX_SOURCE_CHARS)
    )
    kind: str | None = Field(
        PLAIN_TEXT, description="What it is: text, markdown, or a programming language such as python."
    )
    metadata: Mapping[str, Plain | PlainList] | None = Field(
        {},
        description="Further fields, which a search can ask for: 64 KiB of strings, numbers, booleans, and lists of "
        "these. What is null is left out, and so are empty lists.",
        json_schema_extra=at_most(MAX_METADATA_FIELDS, "maxProperties"),
    )

    def to_document(self) -> Document:
        return Document(**dict(self))


class AddDocumentsBody(Body):
    """Documents for an index; those that it already holds unchanged cost nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "documents": [
                        {
                            "id": "p1",
                            "title": "Forgotten password",
                            "text": "Open the settings and choose a new password.",
                            "metadata": {"year": 2026, "tags": ["account", "login"]},
                        }
                    ]
                }
            ]
        }
    )

    documents: Annotated[list[DocumentBody], BeforeValidator(check_documents)] = Field(
        description="At least one.", json_schema_extra={"minItems": 1, "maxItems": MAX_DOCUMENTS}
    )

    def to_documents(self) -> list[Document]:
        """Return the documents. All of them are checked here, before any is stored.

        Raises `EmptyInputError` when there are none, and what `checked` and `check_ids` raise, with the place.
        """
        if not self.documents:
            raise EmptyInputError("'documents' is an empty list; send at least one document.", param="documents")
        documents = [as_document(f"documents[{index}]", body) for index, body in enumerate(self.documents)]
        check_ids(documents)
        return documents


def as_document(place: str, body: DocumentBody) -> Document:
    try:
        return checked(body.to_document())
    except InputError as error:
        raise InputError(f"{place}: {error}", param=f"{place}.{error.param}") from error


class DeleteDocumentsBody(Body):
    """Documents to take out, by their ids."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["p1"]}]})

    ids: Annotated[list[AnyId], BeforeValidator(check_ids_sent)] = Field(
        description="Of documents; those that are not there are passed over.",
        json_schema_extra=at_most(MAX_IDS, "maxItems"),
    )


class SearchBody(Body):
    """A question to an index."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "how do I change my password?"},
                {"query": "rain coat", "k": 5, "mode": "hybrid", "where": ["price <= 80", "tags = new"]},
            ]
        }
    )

    query: str = Field(description="What to search for.", json_schema_extra=at_most(MAX_QUERY_CHARS))
    k: int = Field(10, description="How many results.", ge=1, le=MAX_RESULTS)
    mode: Literal["hybrid", "vector", "keyword"] = Field(
        "hybrid", description="By meaning and by words, by meaning, or by words."
    )
    where: Annotated[list[str], BeforeValidator(check_texts)] = Field(
        [],
        description=f"At most {MAX_CONDITIONS} conditions on fields, such as 'price <= 20', of at most "
        f"{MAX_CONDITION_CHARS} characters each; all must hold. Of a list one value must meet it: 'tags = new'.",
        json_schema_extra=at_most(MAX_CONDITIONS, "maxItems"),
    )
    vector_weight: Number = Field(0.6, description="Of the cosine in hybrid; the rest is the words'.", ge=0, le=1)
    fusion: Literal["sum", "ranks"] = Field("sum", description="How both scores become one.")
    rerank: bool | str = Field(False, description="Order the best anew with the served reranker, or the one named.")
    instruction: str | None = Field(
        None,
        description="The task in words, for models that take one with a query.",
        json_schema_extra=at_most(MAX_QUERY_CHARS),
    )
    all_passages: bool = Field(False, description="Several passages of a document (default: the best of each).")

    def to_query(self) -> Query:
        """Return the query. Raises `InputError` for an invalid condition, and `EmptyInputError` for an empty query."""
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
    """An index that cannot be used, but can be removed."""

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
    """`kept`, where it is given, names other files in the index's folder; they stay, and so does the folder."""

    deleted: int
    kept: list[str] = []


class ResultCard(BaseModel):
    """A passage; `marks` are the places of matching words in `excerpt`."""

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
