"""Puts documents into a store: new and changed ones are split, embedded and segmented; the others are left as they are.

In: documents, one after another. Out: a store that holds them, batch by batch, and counts. After an interruption,
adding the same documents again only costs the work for those that are missing. While one batch is embedded, the next is
split.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from copy import copy
from dataclasses import field
from typing import NamedTuple

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.limits import check_copies, checked
from farthing.toolkit.documents.splitting.split import Part, Splitter, Splitting
from farthing.toolkit.documents.splitting.split_process import CountTokens
from farthing.toolkit.index.embedding import BegunVectors, Embed, PassageEmbedder
from farthing.toolkit.index.unknown_words import UnknownWords
from farthing.toolkit.index.words import Segmenter
from farthing.toolkit.records.fields import errors_placed
from farthing.toolkit.records.skipped import STRICT, Skipped
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Store

# Documents that are looked at together, fewer if they are long.
DOCUMENTS_AT_A_TIME, CHARS_AT_A_TIME = 512, 4_000_000


@dataclass
class Added:
    """What became of the documents so far.

    Attributes:
        num_passages: passages of the documents that were put.
        num_begun: passages that were embedded for documents that are not put yet.
        skipped: the documents that were left out.
        num_plain: of the documents that were split, how many were split without regard to their structure.
        plain: the first of these, each with the reason.
        unknown: counts the words of the embedded texts that the model does not know.
    """

    num_new: int = 0
    num_changed: int = 0
    num_unchanged: int = 0
    num_passages: int = 0
    num_begun: int = 0
    num_plain: int = 0
    plain: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    skipped: Skipped = field(default_factory=Skipped)
    unknown: UnknownWords = field(default_factory=UnknownWords)

    @property
    def num_documents(self) -> int:
        return self.num_new + self.num_changed + self.num_unchanged


class PreparedDocument(NamedTuple):
    """Documents that are put together.

    Attributes:
        passages, words: those of the documents that are new or changed.
        held: the ids of the documents that the store holds already.
        num_unchanged: how many documents the store holds as they are.
    """

    passages: list[Passage]
    words: list[str]
    held: set[str]
    num_unchanged: int


class Adder:
    """
    Args:
        embed: makes the store's vectors of texts.
        begun: keeps the vectors of long documents until these are put.
        on_batch: called with the counts after each batch that was put, and each part that was embedded.
        on_step: called often, from two threads; an error that it raises ends the adding.
        skipped: is told of documents that cannot be added; the first of them is an error where it is strict.
        unknown: counts words that the model does not know.

    Attributes:
        added: what became of the documents so far, also when adding fails.
    """

    def __init__(
        self,
        store: Store,
        segmenter: Segmenter,
        splitting: Splitting,
        embed: Embed,
        begun: BegunVectors | None = None,
        on_batch: Callable[[Added], object] = lambda _: None,
        on_step: Callable[[], object] = lambda: None,
        skipped: Skipped = STRICT,
        unknown: UnknownWords | None = None,
    ) -> None:
        self._store = store
        self._segmenter = segmenter
        self._splitting = splitting
        self._embedder = PassageEmbedder(embed, begun, self._on_part)
        self._on_batch = on_batch
        self.added = Added(skipped=skipped, unknown=unknown or UnknownWords())
        self._on_step = on_step
        self._is_over = False

    def add(self, documents: Iterable[Document], count_tokens: CountTokens) -> Added:
        """Add the documents. Raises what reading, splitting and embedding raise; the documents before the failure are
        kept."""
        added = self.added
        is_built = self._store.facts().num_passages > 0
        with (
            Splitter(self._splitting, count_tokens, self._step) as splitter,
            # Closed first: it splits in a thread.
            closing(one_ahead(self._prepared(documents, splitter, added.ids))) as batches,
        ):
            try:
                for prepared in batches:
                    self._step()
                    self._put(prepared, added, is_built=is_built)
                    is_built = is_built or bool(prepared.passages)
                    self._on_batch(added)
            except BaseException:
                self._is_over = True
                raise
        added.num_plain, added.plain = splitter.num_plain, splitter.plain
        self._embedder.are_put(is_end=True)
        return added

    def _put(self, prepared: PreparedDocument, added: Added, *, is_built: bool) -> None:
        if prepared.passages:
            prepared, vectors = self._embedded(prepared)
            if prepared.passages:
                self._store.put(prepared.passages, prepared.words, vectors)
                self._embedder.are_put()
        names = {passage.document for passage in prepared.passages}
        added.num_new += len(names - prepared.held)
        added.num_changed += len(names & prepared.held)
        added.num_unchanged += prepared.num_unchanged
        added.num_passages += len(prepared.passages)
        added.num_begun = 0
        if prepared.passages and not is_built:
            # A search by words finds nothing before the first build. Should this process be killed after it, the
            # passages that are not indexed are at least looked through.
            self._store.build()

    def _embedded(self, prepared: PreparedDocument) -> tuple[PreparedDocument, np.ndarray]:
        """The documents with the vectors of their passages, without those of which a passage cannot be embedded."""
        try:
            return prepared, self._embed(prepared.passages)
        except InputError:
            if self.added.skipped.strict:
                raise
        good: list[tuple[Passage, str, np.ndarray]] = []
        both = zip(prepared.passages, prepared.words, strict=True)
        for _, group in itertools.groupby(both, key=lambda pair: pair[0].document):
            passages, words = zip(*group, strict=True)
            try:
                good += zip(passages, words, self._embed(passages), strict=True)
            except InputError as error:
                self.added.skipped.add(error)
        kept = prepared._replace(passages=[passage for passage, _, _ in good], words=[words for _, words, _ in good])
        return kept, np.array([vector for _, _, vector in good], dtype=np.float32)

    def _step(self) -> None:
        """Call `on_step`, and end the thread that prepares when the other one has failed."""
        self._on_step()
        if self._is_over:
            raise CancelledError

    def _prepared(
        self, documents: Iterable[Document], splitter: Splitter, seen: set[str]
    ) -> Iterator[PreparedDocument]:
        remaining = self._checked(documents)
        digests: dict[str, str] = {}
        while True:
            batch, failure = taken(remaining)
            if batch:
                fitting = self._unlike(batch, digests)
                yield from self._prepare(fitting, splitter)
                seen.update(fitting)
            if failure is not None:
                raise failure
            if not batch:
                return

    def _checked(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents without those that cannot be added, such as ones that are too large."""
        for document in documents:
            try:
                yield checked(document)
            except InputError as error:
                self.added.skipped.add(error)

    def _unlike(self, batch: Sequence[Document], digests: dict[str, str]) -> dict[str, Document]:
        """The documents by their ids; of two with one id, the first."""
        found: dict[str, Document] = {}
        for document in batch:
            self._step()
            try:
                digest = self._digest(document)
                if digests.setdefault(document.id, digest) != digest:
                    raise InputError(
                        f"{document.source or 'A document'}: the id {document.id!r} was used for another document "
                        "before it. Give each its own, or name the field of their ids.",
                        param="input",
                    )
            except InputError as error:
                self.added.skipped.add(error)
                continue
            found.setdefault(document.id, document)
        return found

    def _digest(self, document: Document) -> str:
        return document.digest(self._splitting.max_tokens, self._splitting.overlap_tokens)

    def _prepare(self, documents: dict[str, Document], splitter: Splitter) -> Iterator[PreparedDocument]:
        """The new and changed documents, in parts that are put together. The first part also counts the unchanged."""
        held = self._store.digests(list(documents))
        wanted = [document for name, document in documents.items() if held.get(name) != self._digest(document)]
        part, num_chars = PreparedDocument([], [], set(held), len(documents) - len(wanted)), 0
        for document in wanted:
            try:
                passages = self._passages(document, splitter)
            except InputError as error:
                if self.added.skipped.strict:
                    yield part
                self.added.skipped.add(error)
                continue
            part.passages.extend(passages)
            part.words.extend(map(self._words, passages))
            num_chars += len(document.text)
            if num_chars >= self._embedder.part_size.num_chars:
                yield part
                part, num_chars = PreparedDocument([], [], set(held), 0), 0
        yield part

    def _passages(self, document: Document, splitter: Splitter) -> list[Passage]:
        digest, parts = self._digest(document), splitter.split(document)
        if not parts:
            raise InputError(f"{document.source or document.id} has no text: nothing could be found of it.")
        check_copies(document, len(parts), sum(len(part.text) + len(part.heading) for part in parts))
        return [passage_of(document, digest, number, part) for number, part in enumerate(parts)]

    def _words(self, passage: Passage) -> str:
        self._step()
        return " ".join(self._segmenter.words(embedded_text(passage)))

    def _embed(self, passages: Sequence[Passage]) -> np.ndarray:
        before = copy(self.added.unknown)
        try:
            with errors_placed(lambda index: passages[index].source or passages[index].document):
                vectors = self._embedder.vectors([embedded_text(passage) for passage in passages])
        except InputError:  # the good ones among them are embedded again
            self.added.unknown = before
            raise
        self.added.unknown.look_at(passage.text for passage in passages)
        return vectors

    def _on_part(self, num_done: int) -> None:
        self._step()
        if num_done:
            self.added.num_begun = num_done
            self._on_batch(self.added)


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
    """The passage's text below its title and heading, unless the text begins with these itself."""
    first_line = passage.text.partition("\n")[0]
    above = [line for line in (passage.title, passage.heading) if line and line.split(" > ")[-1] not in first_line]
    return "\n".join([*above, passage.text])


def taken(documents: Iterator[Document]) -> tuple[list[Document], Exception | None]:
    """The next documents, and the error that kept the one after them from being read."""
    found: list[Document] = []
    num_chars = 0
    try:
        for document in itertools.islice(documents, DOCUMENTS_AT_A_TIME):
            found.append(document)
            num_chars += len(document.text)
            if num_chars >= CHARS_AT_A_TIME:
                break
    except Exception as error:  # noqa: BLE001 - raised by the caller once the documents before it are kept
        return found, error
    return found, None


def one_ahead(items: Iterator[PreparedDocument]) -> Generator[PreparedDocument, None, None]:
    """The same items; each is made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        following = pool.submit(next, items, None)
        while (item := following.result()) is not None:
            following = pool.submit(next, items, None)
            yield item
