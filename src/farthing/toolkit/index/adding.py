"""Puts documents into a store: what is new or changed is split, embedded and segmented; the rest is left as it is.

In: documents, one after another. Out: a store that holds them, batch by batch, and counts. Whoever is stopped begins
again with the same documents and pays only for those that are missing. While one batch is embedded, the next is split.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.split import CountTokens, Part, Splitting, split
from farthing.toolkit.index.words import Segmenter
from farthing.toolkit.records.placed import errors_placed
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Store

Embed = Callable[[Sequence[str]], np.ndarray]

# Documents looked at together; their passages and vectors are in memory at once.
DOCUMENTS_AT_A_TIME = 512


@dataclass
class Added:
    """What became of the documents so far."""

    num_new: int = 0
    num_changed: int = 0
    num_unchanged: int = 0
    num_passages: int = 0
    ids: set[str] = field(default_factory=set)

    @property
    def num_documents(self) -> int:
        return self.num_new + self.num_changed + self.num_unchanged


class Prepared(NamedTuple):
    """Documents of one batch; passages of those that are not held as they are."""

    passages: list[Passage]
    words: list[str]
    num_new: int
    num_changed: int
    num_unchanged: int


class Adder:
    """
    Args:
        embed: the store's vectors of texts.
        on_batch: called with the counts after each batch that was put.

    Attributes:
        added: what became of the documents so far, also when adding fails.
    """

    def __init__(
        self,
        store: Store,
        segmenter: Segmenter,
        splitting: Splitting,
        embed: Embed,
        on_batch: Callable[[Added], object] = lambda _: None,
    ) -> None:
        self._store = store
        self._segmenter = segmenter
        self._splitting = splitting
        self._embed_texts = embed
        self._on_batch = on_batch
        self.added = Added()

    def add(self, documents: Iterable[Document], count_tokens: CountTokens) -> Added:
        """Raises what reading, splitting and embedding raise; what stands before that document is kept."""
        added = self.added
        is_built = self._store.facts().num_passages > 0
        for prepared in one_ahead(self._prepared(documents, count_tokens, added.ids)):
            if prepared.passages:
                self._store.put(prepared.passages, prepared.words, self._embed(prepared.passages))
            added.num_new += prepared.num_new
            added.num_changed += prepared.num_changed
            added.num_unchanged += prepared.num_unchanged
            added.num_passages += len(prepared.passages)
            if prepared.passages and not is_built:
                # By words only what was built is found: should this be killed, at least the rest is looked through.
                self._store.build()
                is_built = True
            self._on_batch(added)
        return added

    def _prepared(self, documents: Iterable[Document], count_tokens: CountTokens, seen: set[str]) -> Iterator[Prepared]:
        remaining = iter(documents)
        digests: dict[str, str] = {}
        while True:
            batch, failure = taken(remaining, DOCUMENTS_AT_A_TIME)
            if batch:
                yield self._prepare(self._unlike(batch, digests), count_tokens)
                seen.update(document.id for document in batch)
            if failure is not None:
                raise failure
            if not batch:
                return

    def _unlike(self, batch: Sequence[Document], digests: dict[str, str]) -> dict[str, Document]:
        """The documents by their ids. Raises `InputError` for two of one id that are not the same."""
        found: dict[str, Document] = {}
        for document in batch:
            digest = self._digest(document)
            if digests.setdefault(document.id, digest) != digest:
                raise InputError(
                    f"{document.source or 'A document'}: the id {document.id!r} was used for another document before "
                    "it. Give each its own, or name the field of their ids.",
                    param="input",
                )
            found.setdefault(document.id, document)
        return found

    def _digest(self, document: Document) -> str:
        return document.digest(self._splitting.max_tokens, self._splitting.overlap_tokens)

    def _prepare(self, documents: dict[str, Document], count_tokens: CountTokens) -> Prepared:
        held = self._store.digests(list(documents))
        wanted = [document for name, document in documents.items() if held.get(name) != self._digest(document)]
        passages = [passage for document in wanted for passage in self._passages(document, count_tokens)]
        words = [" ".join(self._segmenter.words(embedded_text(passage))) for passage in passages]
        num_changed = sum(document.id in held for document in wanted)
        return Prepared(passages, words, len(wanted) - num_changed, num_changed, len(documents) - len(wanted))

    def _passages(self, document: Document, count_tokens: CountTokens) -> Iterator[Passage]:
        digest, is_empty = self._digest(document), True
        for number, part in enumerate(split(document, self._splitting, count_tokens)):
            is_empty = False
            yield passage_of(document, digest, number, part)
        if is_empty:
            raise InputError(f"{document.source or document.id} has no text: nothing could be found of it.")

    def _embed(self, passages: Sequence[Passage]) -> np.ndarray:
        with errors_placed(lambda index: passages[index].source or passages[index].document):
            return self._embed_texts([embedded_text(passage) for passage in passages])


def passage_of(document: Document, digest: str, number: int, part: Part) -> Passage:
    return Passage(
        id=f"{document.id}#{number}",
        document=document.id,
        digest=digest,
        text=part.text,
        title=document.title,
        source=f"{document.source}:{part.line}" if document.is_file else document.source,
        heading=part.heading,
        start=part.start,
        end=part.start + len(part.text),
        metadata=document.metadata,
    )


def embedded_text(passage: Passage) -> str:
    """The passage under what it stands under, unless it begins with that itself."""
    first_line = passage.text.partition("\n")[0]
    above = [line for line in (passage.title, passage.heading) if line and line.split(" > ")[-1] not in first_line]
    return "\n".join([*above, passage.text])


def taken(documents: Iterator[Document], count: int) -> tuple[list[Document], Exception | None]:
    """The next documents, and what kept the one after them from being read."""
    found: list[Document] = []
    try:
        for document in itertools.islice(documents, count):
            found.append(document)
    except Exception as error:  # noqa: BLE001 - raised by the caller once the documents before it are kept
        return found, error
    return found, None


def one_ahead(items: Iterator[Prepared]) -> Iterator[Prepared]:
    """The same items; each is made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item
