"""Moves an index to another model: every passage is embedded and segmented anew, beside the old data.

The index answers with its old vectors until all is done, then changes over in one step. A move that was stopped goes on
where it was. Passages stay as they were split, since whole documents are not kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

from farthing.core.errors import UnreadableIndexError
from farthing.core.space import ELSEWHERE, VectorSpace
from farthing.toolkit.encoder import Encoder
from farthing.toolkit.index import words
from farthing.toolkit.index.adding import DOCUMENTS_AT_A_TIME, embedded_text
from farthing.toolkit.index.embedding import PartSize, PassageEmbedder
from farthing.toolkit.index.index import VectorIndex, after, held_manifest, tried_space
from farthing.toolkit.index.manifest import IndexManifest, read_manifest
from farthing.toolkit.index.unknown_words import UnknownWords
from farthing.toolkit.stores.database import MANIFEST, NEXT_MANIFEST, Database
from farthing.toolkit.stores.passage import Passage


def reindex(
    database: Database,
    encoder: Encoder,
    *,
    dimensions: int | None = None,
    on_batch: Callable[[int], object] = lambda _: None,
    unknown: UnknownWords | None = None,
) -> VectorIndex:
    """Move the index to another model.

    Args:
        unknown: counts words that the new model does not know.
        dimensions: the length of the new vectors; None for the model's own.
        on_batch: called with the number of passages done, including those of earlier runs.

    Raises:
        IndexNotFoundError: there is no index.
        IndexBusyError: another process changes it.
        IndexPlaceError: something that Farthing did not make has the name of the new data.
        DiskFullError, IndexAccessError, UnreadableIndexError: the index's files cannot be read or written; what is done
            is kept.
        EngineError, ServingError: the computation failed; what is done is kept.
    """
    space = tried_space(encoder, dimensions)
    with database.writing():
        old = VectorIndex(database, held_manifest(database))
        new = VectorIndex(database, next_manifest(database, old.manifest, encoder, space), old.segmenter)
        counted = unknown or UnknownWords()
        embedder = PassageEmbedder(new.embed_with(encoder, counted.note), new.begun_vectors())
        num_done = 0
        for batch in document_batches(old, embedder.part_size):
            held = new.store.digests(list(dict.fromkeys(passage.document for passage in batch)))
            missing = [passage for passage in batch if held.get(passage.document) != passage.digest]
            texts = [embedded_text(passage) for passage in missing]
            if missing:
                words_of = [" ".join(new.segmenter.words(text)) for text in texts]
                new.store.put(missing, words_of, embedder.vectors(texts))
                embedder.are_put()
                counted.look_at(passage.text for passage in missing)
            num_done += len(batch)
            on_batch(num_done)
        # Documents that were removed from the old index after a move that was stopped had copied them.
        new.store.delete(list(set(new.store.documents()) - set(old.store.documents())))
        new.store.build()
        database.write(MANIFEST, new.manifest.to_json())
        database.write(NEXT_MANIFEST, None)
        old.store.close()
        database.drop(old.manifest.data)
    return new


def next_manifest(database: Database, old: IndexManifest, encoder: Encoder, space: VectorSpace) -> IndexManifest:
    """The manifest of the move that was begun, if that move is to the same space; else of a move that begins now.

    The index keeps its own model where the new one is another server's that makes vectors of the index's own space.
    """
    model, full = encoder.model, replace(space, dimensions=encoder.dimensions)
    if space.pooling == ELSEWHERE != old.space.pooling and old.is_of(full):
        model, space = old.model, replace(old.space, dimensions=space.dimensions)
    wanted = replace(old, data=after(old.data), model=model, space=space, words_version=words.VERSION)
    if begun_manifest(database) != wanted:
        database.drop(wanted.data)
        database.write(NEXT_MANIFEST, wanted.to_json())
    database.open(wanted.data, wanted.space.dimensions)
    return wanted


def begun_manifest(database: Database) -> IndexManifest | None:
    """The manifest of a move that was begun; None where there is none, or none that can be read and gone on with."""
    try:
        begun = database.read(NEXT_MANIFEST)
        return None if begun is None else read_manifest(begun, database.place)
    except UnreadableIndexError:
        return None


def document_batches(index: VectorIndex, part_size: PartSize) -> Iterator[list[Passage]]:
    """All passages in batches of whole documents, each of about as many as are added at once."""
    passages = itertools.chain.from_iterable(index.store.passages())
    batch: list[Passage] = []
    num_chars = 0
    for _, group in itertools.groupby(passages, key=lambda passage: passage.document):
        document = list(group)
        batch += document
        num_chars += sum(len(passage.text) for passage in document)
        if len(batch) >= DOCUMENTS_AT_A_TIME or num_chars >= part_size.num_chars:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch
