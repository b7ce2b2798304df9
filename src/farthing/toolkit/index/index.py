"""An index of documents: made once, added to, searched by meaning and by words.

In: documents, and queries as texts. Out: passages, best first. All vectors in an index are of one vector space, and
nothing else is compared with them. Every change takes effect as a whole or not at all: a process that is killed leaves
an index that opens.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from farthing.core.errors import (
    IndexBusyError,
    IndexExistsError,
    IndexNotFoundError,
    UnreadableIndexError,
    VectorIndexError,
)
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.splitting.split import splitting_for
from farthing.toolkit.encoder import Encoder
from farthing.toolkit.index import words
from farthing.toolkit.index.adding import Added, Adder
from farthing.toolkit.index.embedding import BegunVectors, Embed
from farthing.toolkit.index.manifest import IndexManifest, read_manifest
from farthing.toolkit.index.unknown_words import UnknownWords
from farthing.toolkit.records.skipped import STRICT, Skipped
from farthing.toolkit.stores.database import MANIFEST, Database
from farthing.toolkit.stores.failures import unreadable
from farthing.toolkit.stores.store import Store, StoreFacts

FIRST_DATA = "data-1"
# An index of at most so many passages is built whenever something was added; a larger index when so many passages are
# not indexed.
SMALL_PASSAGES, MANY_UNINDEXED = 20_000, 5_000


class IndexInfo(NamedTuple):
    manifest: IndexManifest
    facts: StoreFacts


class VectorIndex:
    """An open index and what is in it; `farthing.toolkit.index.search` searches it.

    Use `create` or `open`. Raises `UnreadableIndexError` when the data that the manifest names is not there.
    """

    def __init__(self, database: Database, manifest: IndexManifest, segmenter: words.Segmenter | None = None) -> None:
        self.database = database
        self.manifest = manifest
        self.segmenter = segmenter or words.Segmenter()
        if not database.has(manifest.data):
            raise unreadable(database.place)
        self.store: Store = database.open(manifest.data, manifest.space.dimensions)

    @classmethod
    def create(
        cls,
        database: Database,
        encoder: Encoder,
        *,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        overlap_tokens: int | None = None,
    ) -> VectorIndex:
        """Make an empty index in a place of its own. When it cannot be made, the place is left as it was before.

        Args:
            dimensions: the length of the vectors that are kept, for models that are trained to be cut.
            max_tokens: the most tokens of a passage; None for what suits search, within the model's context.
            overlap_tokens: the tokens that neighbouring passages of a document share; None for an eighth.

        Raises:
            IndexExistsError: there is an index already.
            IndexPlaceError: something else is there.
            InputError: a number makes no sense.
            DimensionsError: the model cannot make vectors of this length.
            DiskFullError, IndexAccessError: the files cannot be written.
        """
        check_free(database)
        splitting = splitting_for(encoder.context_length, max_tokens, overlap_tokens)
        space = tried_space(encoder, dimensions)
        manifest = IndexManifest(FIRST_DATA, encoder.model, space, splitting, words.VERSION, secrets.token_hex(16))
        with database.making():
            check_free(database)
            try:
                database.drop(FIRST_DATA)
                database.open(FIRST_DATA, space.dimensions)
                opened = cls(database, manifest)
                database.write(MANIFEST, manifest.to_json())
            except BaseException:
                database.drop(FIRST_DATA)
                raise
        return opened

    @classmethod
    def open(cls, database: Database, segmenter: words.Segmenter | None = None) -> VectorIndex:
        """Open the index in a place.

        Raises:
            IndexNotFoundError: there is none.
            UnreadableIndexError: it is damaged, or this version cannot read it.
            IndexAccessError: this process may not read it.
        """
        manifest = held_manifest(database)
        if manifest.words_version != words.VERSION:
            raise UnreadableIndexError(
                f"The words of the index in {database.place} were cut by version {manifest.words_version}, and this "
                f"Farthing has {words.VERSION}. Bring it up to date with: farthing index reindex {database.place}"
            )
        return cls(database, manifest, segmenter)

    def check(self, encoder: Encoder) -> None:
        """Raise `WrongSpaceError` when the encoder's vectors are not of the index's space."""
        self.manifest.check_space(encoder.space, encoder.model)

    def check_made(self, result: EmbedResult, encoder: Encoder) -> None:
        """Raise `WrongSpaceError` when vectors that the encoder made, of any length, are not of the index's space."""
        self.manifest.check_space(replace(result.space, dimensions=encoder.dimensions), encoder.model)

    @property
    def dimensions(self) -> int:
        return self.manifest.space.dimensions

    def info(self) -> IndexInfo:
        return IndexInfo(self.manifest, self.store.facts())

    def add(
        self,
        documents: Iterable[Document],
        encoder: Encoder,
        on_batch: Callable[[Added], object] = lambda _: None,
        on_step: Callable[[], object] = lambda: None,
        skipped: Skipped = STRICT,
    ) -> Added:
        """Add documents; those that the index holds as they are cost nothing.

        Args:
            on_batch: called with the counts after each batch that was put, and each part of a batch that was embedded.
            skipped: is told of documents that cannot be added, which are left out; by default the first of them is an
                error.
            on_step: called often, from two threads; an error that it raises ends the adding, and what was put before is
                kept.

        Raises:
            WrongSpaceError: the encoder's vectors are not of the index's space.
            IndexBusyError: another process changes the index.
            InputError: a document cannot be read, split or embedded; the documents before it are kept.
            EngineError, ServingError: the computation failed; what was put before is kept.
            DiskFullError, IndexAccessError, UnreadableIndexError: the index's files cannot be read or written; the
                message says how many documents were put before and are kept.
        """
        self.check(encoder)
        with self._changing():
            embed = self.embed_with(encoder, lambda result: adder.added.unknown.note(result))
            begun, splitting, unknown = self.begun_vectors(), self.manifest.splitting, UnknownWords.to(encoder)
            adder = Adder(self.store, self.segmenter, splitting, embed, begun, on_batch, on_step, skipped, unknown)
            with kept_told(adder.added):
                try:
                    added = adder.add(documents, encoder.count_tokens)
                except VectorIndexError:
                    raise  # the store itself fails, so that it could not be built either
                except BaseException:
                    self._build_where_it_pays()
                    raise
                self._build_where_it_pays()
        return added

    def _build_where_it_pays(self) -> None:
        """Build the index if it is small, or if much of it is not indexed. Passages that are not indexed yet are found
        all the same, by looking through them, and building a large index takes a minute, however little is new (LanceDB
        writes its tables anew)."""
        facts = self.store.facts()
        if facts.num_passages <= SMALL_PASSAGES or facts.num_unindexed > MANY_UNINDEXED:
            self.store.build()

    def embed_with(self, encoder: Encoder, on_result: Callable[[EmbedResult], object]) -> Embed:
        """A function that makes vectors of passages as they are kept. It checks each time that they are of the index's
        space, since an encoder may change its weights.

        `on_result` is told what else is known of the vectors.
        """

        def embed(texts: Sequence[str]) -> np.ndarray:
            request = EmbedRequest(texts, input_type="document", dimensions=self.dimensions, truncate=True)
            result = encoder.encode_request(request)
            self.check_made(result, encoder)
            on_result(result)
            return result.vectors

        return embed

    def begun_vectors(self) -> BegunVectors | None:
        """The vectors of documents that are not whole yet, to be used while the index is changed; None where they
        cannot be kept."""
        file = self.database.begun_file()
        return None if file is None else BegunVectors(file, self.database.place, self.manifest.space.id)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep others from changing the index meanwhile. Raises `IndexBusyError` when another process changes it, or
        has put another index in its place."""
        with self.database.writing():
            if not self.is_current():
                raise IndexBusyError(
                    f"Another process has moved the index {self.database.place} to another model, or made it anew. "
                    "Ask again."
                )
            yield

    def is_current(self) -> bool:
        """Whether this index is what is in its place now. Raises what `open` raises."""
        return held_manifest(self.database) == self.manifest

    def current(self) -> VectorIndex:
        """This index, or the one that has taken its place. Raises what `open` raises."""
        return self if self.is_current() else VectorIndex.open(self.database, self.segmenter)

    def delete(self, documents: Sequence[str]) -> int:
        """Remove documents by their ids, and return how many of them there were. Raises `IndexBusyError`."""
        with self._changing():
            return self.store.delete(documents)

    def prune(self, folders: Sequence[str], kept: Collection[str], unread: Collection[str] = ()) -> int:
        """Remove documents whose ids are paths in these folders and that are not among `kept`.

        Args:
            unread: paths of files and folders that could not be read; documents of these stay.

        Returns how many documents were removed. Raises `IndexBusyError`.
        """
        inside = tuple("" if folder == "." else folder + "/" for folder in folders)
        staying = tuple("" if folder == "." else folder + "/" for folder in unread)
        gone = [
            name
            for name in self.store.documents()
            if name.startswith(inside)
            and name not in kept
            and name not in unread
            and not (staying and name.startswith(staying))
        ]
        return self.delete(gone)

    def remove(self) -> list[str]:
        """Remove the index with all that is in it, as `remove_index` does."""
        self.store.close()
        return remove_index(self.database)

    def compact(self) -> None:
        """Make searches fast, and free the space of what was replaced. Raises `IndexBusyError`."""
        with self._changing():
            self.store.build()
            self.database.drop(before(self.manifest.data))  # left where a move to another model was killed at its end


def check_free(database: Database) -> None:
    """Raise `IndexExistsError` or `IndexPlaceError` where no index can be made, before anything is done for it."""
    if database.read(MANIFEST) is not None:
        raise IndexExistsError(
            f"There is an index in {database.place} already. Add to it, delete it, or choose another place."
        )
    database.check_free()


def remove_index(database: Database) -> list[str]:
    """Remove an index, even one that cannot be opened. What else is in its place stays; the names of that are returned.

    Raises:
        IndexNotFoundError: there is none.
        IndexBusyError: another process changes it.
        IndexPlaceError: a symbolic link leads to it.
        IndexAccessError: this process may not remove it.
    """
    with database.writing():
        try:
            is_there = database.read(MANIFEST) is not None
        except UnreadableIndexError:
            is_there = True
        if not is_there:
            raise not_found(database)
        return database.remove()


@contextmanager
def kept_told(added: Added) -> Iterator[None]:
    """Let errors of the index's files say how many documents were put before; `added` is what is done so far."""
    try:
        yield
    except VectorIndexError as error:
        num = added.num_documents
        kept = f"{num:,} of the documents were added before that, and stay." if num else "No document was added."
        raise type(error)(f"{error} {kept}", param=error.param) from error


def tried_space(encoder: Encoder, dimensions: int | None) -> VectorSpace:
    """The space of the encoder's vectors of so many dimensions. A text is embedded to find out.

    Raises `DimensionsError` for dimensions that the model does not have, and the errors of `Encoder.encode_request`.
    """
    return encoder.encode_request(EmbedRequest(["a wren"], dimensions=dimensions)).space


def before(data: str) -> str:
    return numbered(data, -1)


def after(data: str) -> str:
    return numbered(data, 1)


def numbered(data: str, step: int) -> str:
    name, _, number = data.rpartition("-")
    return f"{name}-{(int(number) + step) % 10**9}"  # as many digits as a manifest may have


def held_manifest(database: Database) -> IndexManifest:
    """The manifest of a place. Raises `IndexNotFoundError` where there is none, and `UnreadableIndexError` if it cannot
    be read."""
    content = database.read(MANIFEST)
    if content is None:
        raise not_found(database)
    return read_manifest(content, database.place)


def not_found(database: Database) -> IndexNotFoundError:
    return IndexNotFoundError(
        f"There is no index in {database.place}. Make one with: farthing index create {database.place} --model MODEL"
    )
