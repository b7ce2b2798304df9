"""Retrieval sets in BEIR's layout (https://github.com/beir-cellar/beir), in one language or several.

Records of `corpus.jsonl` and `queries.jsonl` have `_id` or `id`, and `text`. A document may also have a `title`, which
goes before its text. `qrels.tsv` or `qrels/test.tsv` says which document answers which query, and how well. In several
languages there are `corpus.LANGUAGE.jsonl` and `queries.LANGUAGE.jsonl`, which share their ids and `qrels.tsv`. Queries
without a relevant document are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.core.errors import EmptyInputError, InputError
from farthing.toolkit.evaluate.sets.records import Records, SetPart, Wanted, id_of, read_records, source_of, text_of
from farthing.toolkit.records.lines import Lines, without_end
from farthing.toolkit.records.read_lines import tried
from farthing.toolkit.records.skipped import Skipped

LOOKED_FOR = "retrieval: corpus.jsonl, queries.jsonl and qrels.tsv (or corpus.en.jsonl, queries.en.jsonl, ...)"
NAMES = re.compile(r"(corpus|queries)(?:\.(?P<language>[^.]+))?\.jsonl")
QRELS = ("qrels.tsv", "qrels/test.tsv")

Grades = Mapping[str, Mapping[str, int]]
Languages = tuple[str | None, str | None]


@dataclass(frozen=True)
class RetrievalSet:
    """
    Attributes:
        files: the files that the set was read from.
        languages: of queries and of documents; None where the files' names have none.
        query_ids, document_ids: the ids of the texts of `queries` and `documents`.
        grades: by query id, then document id; greater is better, 0 is not relevant.
    """

    name: str
    files: tuple[str, ...]
    languages: Languages
    query_ids: Sequence[str]
    queries: SetPart
    document_ids: Sequence[str]
    documents: SetPart
    grades: Grades
    kind = "retrieval"

    @property
    def parts(self) -> dict[str, SetPart]:
        return {"documents": self.documents, "queries": self.queries}

    @property
    def size(self) -> str:
        return f"{len(self.documents):,} documents, {len(self.queries):,} queries"


@dataclass(frozen=True)
class Corpus:
    """A file of documents or queries."""

    file: str
    ids: Sequence[str]
    part: SetPart


def recognises(folder: Path) -> bool:
    return bool(languages(folder, "corpus") and languages(folder, "queries")) and qrels_of(folder) is not None


def read(folder: Path, wanted: Wanted) -> list[RetrievalSet]:
    """Read one set, or one for each language or wanted pair of languages. Raises the errors of `read_records`."""
    corpora, queries, qrels = languages(folder, "corpus"), languages(folder, "queries"), qrels_of(folder)
    assert qrels is not None, "the folder was recognised"
    if None in corpora and None in queries:
        pairs: Sequence[Languages] = [(None, None)]
    else:
        own = [(name, name) for name in corpora if name in queries]
        pairs = [(q, d) for q, d in wanted.pairs if q in queries and d in corpora] if wanted.pairs else own
    skipped = wanted.skipped
    documents = {name: read_corpus(corpora[name], skipped) for name in dict.fromkeys(pair[1] for pair in pairs)}
    asked = {name: read_queries(queries[name], skipped) for name in dict.fromkeys(pair[0] for pair in pairs)}
    grades = read_grades(qrels, skipped) if pairs else {}
    return [assemble(folder, (q, d), asked[q], documents[d], grades, qrels, wanted) for q, d in pairs]


def assemble(
    folder: Path,
    pair: Languages,
    queries: Corpus,
    documents: Corpus,
    grades: Grades,
    qrels: Path,
    wanted: Wanted,
) -> RetrievalSet:
    places = {found: index for index, found in enumerate(queries.ids)}
    grades = known_grades(grades, queries, documents, qrels, wanted.skipped)
    judged = [query for query in queries.ids if any(grade > 0 for grade in grades.get(query, {}).values())]
    judged = judged[: wanted.max_queries]
    if not judged:
        raise EmptyInputError(f"No query of {queries.file} has a relevant document in {source_of(qrels)}.")
    indices = [places[query] for query in judged]
    part = SetPart(
        [queries.part.texts[index] for index in indices], "query", lambda index: queries.part.place(indices[index])
    )
    return RetrievalSet(
        name=set_name(folder, pair),
        files=(documents.file, queries.file, source_of(qrels)),
        languages=pair,
        query_ids=judged,
        queries=part,
        document_ids=documents.ids,
        documents=documents.part,
        grades={query: grades[query] for query in judged},
    )


def known_grades(grades: Grades, queries: Corpus, documents: Corpus, qrels: Path, skipped: Skipped) -> Grades:
    """Return the grades of queries and documents that exist. Raises `InputError` for the first other one if strict."""
    known_queries, known = set(queries.ids), set(documents.ids)
    kept: dict[str, Mapping[str, int]] = {}
    for query, found in grades.items():
        if query not in known_queries:
            message = f"{source_of(qrels)} grades the query {query!r}, which is not in {queries.file}."
            skipped.add(InputError(message))
            continue
        for missing in sorted(found.keys() - known):
            message = f"{source_of(qrels)} grades the document {missing!r}, which is not in {documents.file}."
            skipped.add(InputError(message))
        kept[query] = {document: grade for document, grade in found.items() if document in known}
    return kept


def set_name(folder: Path, pair: Languages) -> str:
    queries, documents = pair
    if queries is None:
        return folder.name
    return f"{folder.name} {queries}" if queries == documents else f"{folder.name} {queries}-{documents}"


def languages(folder: Path, what: str) -> dict[str | None, Path]:
    """Return the files of `what` by language; the file without a language is under None."""
    found = ((NAMES.fullmatch(path.name), path) for path in sorted(folder.glob(f"{what}*.jsonl")))
    return {match["language"]: path for match, path in found if match}


def qrels_of(folder: Path) -> Path | None:
    return next((folder / name for name in QRELS if (folder / name).is_file()), None)


def read_corpus(path: Path, skipped: Skipped) -> Corpus:
    records = read_records(path, skipped, {"text": text_of, "id": id_of})
    texts = [f"{title} {text}".strip() for title, text in zip(titles(records), records.texts("text"), strict=True)]
    return Corpus(records.source, records.ids(), SetPart(texts, "document", records.place))


def titles(records: Records) -> Iterator[str]:
    return (str(record.get("title") or "") for record in records.objects)


def read_queries(path: Path, skipped: Skipped) -> Corpus:
    records = read_records(path, skipped, {"text": text_of, "id": id_of})
    return Corpus(records.source, records.ids(), records.part("text", "query"))


def read_grades(path: Path, skipped: Skipped) -> Grades:
    """Read the grades. A line is query, document and grade with tabs between them; the first line may be a header.

    Other lines are left out; if `skipped` is strict, the first of them raises `InputError`.
    """
    grades: dict[str, dict[str, int]] = {}
    with path.open("rb") as stream:
        lines = Lines(stream, source_of(path))
        for item in tried(lines, without_end):
            if isinstance(item, InputError):
                skipped.add(item)
                continue
            cells = item.split("\t")
            if cells == [""]:
                continue
            if len(cells) != 3 or not is_grade(cells[2]):
                if lines.number == 1 and len(cells) == 3:
                    continue
                message = (
                    f"{lines.place} is {item[:60]!r}; a line is a query's id, a document's id and a whole number, with "
                    "tabs between them."
                )
                skipped.add(InputError(message))
                continue
            grades.setdefault(cells[0], {})[cells[1]] = int(cells[2])
    return grades


def is_grade(cell: str) -> bool:
    return re.fullmatch(r"-?\d+", cell) is not None
