"""An index of documents: made once, added to, searched by meaning and by words.

In: documents, and queries as texts. Out: passages, best first. What is in an index is of one vector space, and nothing
else is compared with it. Every change is there whole or not at all: a process that is killed leaves an index that
opens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from farthing.core.errors import IndexExistsError, IndexNotFoundError, VectorIndexError
from farthing.core.space import VectorSpace
from farthing.toolkit.documents.document import Document
from farthing.toolkit.documents.split import splitting_for
from farthing.toolkit.encoder import Encoder
from farthing.toolkit.index import words
from farthing.toolkit.index.adding import Added, Adder, Embed
from farthing.toolkit.index.manifest import Manifest, read_manifest
from farthing.toolkit.stores.database import Database
from farthing.toolkit.stores.store import Store, StoreFacts

MANIFEST = "farthing-index"
FIRST_DATA = "data-1"
# Up to so many passages an index is built whenever something was added; beyond, when so many are not indexed.
SMALL_PASSAGES, MANY_UNINDEXED = 20_000, 5_000


class IndexInfo(NamedTuple):
    manifest: Manifest
    facts: StoreFacts


class VectorIndex:
    """One index, open. `farthing.toolkit.index.search` asks it questions; here is what is in it.

    Use `create` or `open`.
    """

    def __init__(self, database: Database, manifest: Manifest, segmenter: words.Segmenter | None = None) -> None:
        self.database = database
        self.manifest = manifest
        self.segmenter = segmenter or words.Segmenter()
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
        """
        Args:
            dimensions: of the vectors that are kept, for models that are trained to be cut.
            max_tokens: of a passage; None for what suits search, within the model's context.
            overlap_tokens: that neighbouring passages of a document share; None for an eighth.

        Raises:
            IndexExistsError: there is one already.
            InputError: a number makes no sense.
            DimensionsError: the model cannot make vectors of this length.
        """
        splitting = splitting_for(encoder.context_length, max_tokens, overlap_tokens)
        encoder.encode(["a wren"], dimensions=dimensions)  # raises for dimensions that the model does not have
        space = space_of(encoder, dimensions)
        with database.writing():
            if database.read(MANIFEST) is not None:
                raise IndexExistsError(
                    f"There is an index in {database.place} already. Add to it, delete it, or choose another place."
                )
            manifest = Manifest(FIRST_DATA, encoder.model, space, splitting, words.VERSION)
            database.drop(FIRST_DATA)
            opened = cls(database, manifest)
            database.write(MANIFEST, manifest.to_json())
        return opened

    @classmethod
    def open(cls, database: Database, segmenter: words.Segmenter | None = None) -> VectorIndex:
        """
        Raises:
            IndexNotFoundError: there is none.
            VectorIndexError: this version cannot read it.
        """
        manifest = held_manifest(database)
        if manifest.words_version != words.VERSION:
            raise VectorIndexError(
                f"The words of the index in {database.place} were cut by version {manifest.words_version}, and this "
                f"Farthing has {words.VERSION}. Bring it up to date with: farthing index reindex {database.place}"
            )
        return cls(database, manifest, segmenter)

    def check(self, encoder: Encoder) -> None:
        """Raises `WrongSpaceError` when the encoder's vectors are not of the index's space."""
        self.manifest.check_space(encoder.space, encoder.model)

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
    ) -> Added:
        """Put documents in; those that are held as they are cost nothing.

        Args:
            on_batch: called with the counts after each batch that was put.
            on_step: called often, from two threads; what it raises ends the adding, and what was put before is kept.

        Raises:
            WrongSpaceError: the encoder's vectors are not of the index's space.
            IndexBusyError: another process changes the index.
            InputError: of reading, splitting or embedding a document; those before it are kept.
            EngineError, ServingError: the computation failed; what was put before is kept.
        """
        self.check(encoder)
        with self.database.writing():
            embed = self.embed_with(encoder)
            adder = Adder(self.store, self.segmenter, self.manifest.splitting, embed, on_batch, on_step)
            try:
                return adder.add(documents, encoder.count_tokens)
            finally:
                self._build_where_it_pays()

    def _build_where_it_pays(self) -> None:
        """What is not indexed yet is found all the same, by looking through it; building a large index takes a minute,
        however little is new (LanceDB writes its tables anew)."""
        facts = self.store.facts()
        if facts.num_passages <= SMALL_PASSAGES or facts.num_unindexed > MANY_UNINDEXED:
            self.store.build()

    def embed_with(self, encoder: Encoder) -> Embed:
        """Vectors of passages as they are kept. An encoder may change its weights: none but those of the space are."""

        def embed(texts: Sequence[str]) -> np.ndarray:
            vectors = encoder.encode(texts, input_type="document", dimensions=self.dimensions, truncate=True)
            self.check(encoder)
            return vectors

        return embed

    def delete(self, documents: Sequence[str]) -> int:
        """Take documents out, by their ids; returns how many there were. Raises `IndexBusyError`."""
        with self.database.writing():
            return self.store.delete(documents)

    def prune(self, folders: Sequence[str], kept: Collection[str]) -> int:
        """Take out documents whose ids are paths in these folders and that are not among `kept`.

        Returns how many there were. Raises `IndexBusyError`.
        """
        inside = tuple("" if folder == "." else folder + "/" for folder in folders)
        gone = [name for name in self.store.documents() if name.startswith(inside) and name not in kept]
        return self.delete(gone)

    def remove(self) -> None:
        """The index with all that is in it. Raises `IndexBusyError`."""
        with self.database.writing():
            self.store.close()
            self.database.remove()

    def compact(self) -> None:
        """Make searches fast, and give back the room of what was replaced. Raises `IndexBusyError`."""
        with self.database.writing():
            self.store.build()
            self.database.drop(before(self.manifest.data))  # where a move to another model was killed at its very end


def space_of(encoder: Encoder, dimensions: int | None) -> VectorSpace:
    return replace(encoder.space, dimensions=dimensions or encoder.dimensions)


def before(data: str) -> str:
    return numbered(data, -1)


def after(data: str) -> str:
    return numbered(data, 1)


def numbered(data: str, step: int) -> str:
    name, _, number = data.rpartition("-")
    return f"{name}-{int(number) + step}"


def held_manifest(database: Database) -> Manifest:
    """Raises `IndexNotFoundError` where there is none, and `VectorIndexError` for one that cannot be read."""
    content = database.read(MANIFEST)
    if content is None:
        raise IndexNotFoundError(
            f"There is no index in {database.place}. Make one with: farthing index create {database.place} "
            "--model MODEL"
        )
    return read_manifest(content, database.place)
