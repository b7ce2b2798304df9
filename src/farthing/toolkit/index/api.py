"""`farthing.Index`: an index and its encoder in one object, for programs.

In: documents as dicts or texts, files, queries. Out: results. It closes the encoder that it opened itself, and no
other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from farthing.core.errors import IndexExistsError, InputError, shown
from farthing.core.progress import progress_bar
from farthing.core.settings import QUANTISED_FORMATS, EngineSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.toolkit.documents.document import PLAIN_TEXT, Document
from farthing.toolkit.documents.inputs import Inputs
from farthing.toolkit.documents.limits import misfit
from farthing.toolkit.documents.values import words_of
from farthing.toolkit.encoder import Encoder, lasting_name, open_encoder
from farthing.toolkit.index.adding import Added
from farthing.toolkit.index.hybrid import Blend, Mode
from farthing.toolkit.index.index import IndexInfo, VectorIndex
from farthing.toolkit.index.manifest import own_model_told
from farthing.toolkit.index.reindex import reindex
from farthing.toolkit.index.result import SearchResult
from farthing.toolkit.index.search import Query, Ranker, search
from farthing.toolkit.stores.database import MANIFEST, open_database
from farthing.toolkit.stores.where import Condition, parse_condition

FIELDS = ("id", "text", "title", "source", "kind")
AnyDocument = Document | Mapping[str, Any] | str


class Index:
    """An index of documents, open.

    Args:
        place: where the index is, as `farthing index` takes it.
        encoder: the index's model: an open encoder such as `farthing.Embedder`, or a name; None for the model that made
            the index, which is loaded when it is first needed.

    Raises:
        IndexNotFoundError: there is no index; `Index.create` makes one.
    """

    def __init__(self, place: str, encoder: Encoder | str | None = None) -> None:
        self._index = VectorIndex.open(open_database(str(place)))
        self._given = encoder
        self._own: Encoder | None = None

    @classmethod
    def create(
        cls,
        place: str,
        encoder: Encoder | str,
        *,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        overlap_tokens: int | None = None,
        exist_ok: bool = False,
    ) -> Index:
        """Make an empty index in a new place; with `exist_ok`, open the one that is there already, with all that is in
        it.

        The other arguments, and the errors, are those of `VectorIndex.create`. An index that is there already must have
        vectors of this model (`WrongSpaceError`) and the numbers that are given (`IndexExistsError`).
        """
        if exist_ok and open_database(str(place)).read(MANIFEST) is not None:
            return cls._existing(place, encoder, dimensions, max_tokens, overlap_tokens)
        opened = opened_encoder(lasting_name(encoder)) if isinstance(encoder, str) else encoder
        sizes = {"dimensions": dimensions, "max_tokens": max_tokens, "overlap_tokens": overlap_tokens}
        try:
            VectorIndex.create(open_database(str(place)), opened, **sizes)
        except BaseException:
            if isinstance(encoder, str):
                opened.close()
            raise
        made = cls(place, encoder)
        made._own = opened if isinstance(encoder, str) else None
        return made

    @classmethod
    def _existing(
        cls,
        place: str,
        encoder: Encoder | str,
        dimensions: int | None,
        max_tokens: int | None,
        overlap_tokens: int | None,
    ) -> Index:
        found = cls(place, encoder)
        splitting = found._index.manifest.splitting
        held = {
            "dimensions": (found._index.dimensions, dimensions),
            "max_tokens": (splitting.max_tokens, max_tokens),
            "overlap_tokens": (splitting.overlap_tokens, overlap_tokens),
        }
        for name, (has, wanted) in held.items():
            if wanted not in (None, has):
                raise IndexExistsError(
                    f"The index in {place} was made with {name} {has}, and {wanted} is wanted. Leave {name} out, "
                    "delete the index, or choose another place.",
                    param=name,
                )
        try:
            found._index.check(found.encoder)
        except BaseException:
            found.close()
            raise
        return found

    def __repr__(self) -> str:
        manifest = self._index.manifest
        return (
            f"Index({self._index.database.place!r}, model={manifest.model!r}, dimensions={manifest.space.dimensions})"
        )

    def _current(self) -> VectorIndex:
        """The index that is in the place now: another process may have moved it to another model, or made it anew."""
        self._index = self._index.current()
        return self._index

    @property
    def encoder(self) -> Encoder:
        """The encoder of the index, which is loaded when it is first asked for."""
        if self._given is not None and not isinstance(self._given, str):
            return self._given
        if self._own is None:
            manifest = self._index.manifest
            with own_model_told(manifest, self._given, "give its folder as the encoder of Index"):
                self._own = opened_encoder(self._given or manifest.model, manifest.space.format)
        return self._own

    def add(self, documents: AnyDocument | Iterable[AnyDocument], *, show_progress: bool = False) -> Added:
        """Add documents; those that the index holds as they are cost nothing.

        Args:
            documents: one or several: `Document`s, texts, or dicts with a `text` and perhaps `id`, `title`, `source`
                and `kind`. Everything else in a dict becomes metadata: texts, numbers, true and false, and lists of
                these. A document without an id is named by its content. A whole number as an id becomes its decimal
                text; None, and an empty list, count as left out.
            show_progress: draw a bar on standard error.

        Raises what `VectorIndex.add` raises.
        """
        with counting(show_progress) as on_batch:
            return self._current().add(as_documents(documents), self.encoder, on_batch)

    def add_files(
        self, *names: str, exclude: Sequence[str] = (), strict: bool = False, show_progress: bool = False
    ) -> Added:
        """Add the documents of files and folders, as `farthing index add` does. Also raises what `Inputs` raises.

        Args:
            strict: raise an error for the first record or file that cannot be read, instead of leaving it out
                (`Added.skipped`).
            show_progress: draw a bar on standard error.
        """
        inputs = Inputs(names, exclude=exclude)
        inputs.left_out.records.strict = strict
        inputs.check()
        with counting(show_progress) as on_batch:
            return self._current().add(inputs, self.encoder, on_batch, skipped=inputs.left_out.records)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        where: Condition | str | Sequence[Condition | str] = (),
        blend: Blend | None = None,
        reranker: Ranker | None = None,
        instruction: str | None = None,
        all_passages: bool = False,
    ) -> list[SearchResult]:
        """The best passages, best first. The arguments are those of `Query`; a condition may be a text: "price <= 20".

        Raises what `farthing.toolkit.index.search.search` raises.
        """
        given = [where] if isinstance(where, (str, Condition)) else where
        conditions = [parse_condition(item) if isinstance(item, str) else item for item in given]
        asked = Query(query, k, mode, conditions, blend or Blend(), instruction, all_passages)
        return search(self._current(), asked, None if mode == "keyword" else self.encoder, reranker)

    def delete(self, *ids: str | int) -> int:
        """Remove documents, and return how many there were. A number stands for the id that it was added under."""
        return self._current().delete([words_of(name) for name in ids])

    def info(self) -> IndexInfo:
        return self._current().info()

    def compact(self) -> None:
        """Make searches fast, and free the space of what was replaced."""
        self._current().compact()

    def reindex(self, encoder: Encoder | str, *, dimensions: int | None = None) -> None:
        """Embed all passages with another model, which the index has from then on. Raises what `reindex` raises."""
        opened = opened_encoder(lasting_name(encoder)) if isinstance(encoder, str) else encoder
        try:
            self._index = reindex(self._index.database, opened, dimensions=dimensions)
        except BaseException:
            if opened is not encoder:
                opened.close()
            raise
        self.close()
        self._given, self._own = encoder, opened if isinstance(encoder, str) else None

    def close(self) -> None:
        """Close the encoder, if it was opened here."""
        if self._own is not None:
            self._own.close()
            self._own = None

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def counting(is_shown: bool) -> Iterator[Callable[[Added], object]]:
    """A progress bar of the documents that were added; the function that it yields is called after each batch."""
    with progress_bar(shown=is_shown, desc="Adding", unit=" documents", dynamic_ncols=True) as bar:
        yield lambda added: bar.update(added.num_documents - bar.n)


def opened_encoder(model: str, held_format: str = "") -> Encoder:
    """Open the model in the format of the vectors that are held, where that format can be chosen."""
    engine = EngineSettings(format=held_format) if held_format in ("none", *QUANTISED_FORMATS) else EngineSettings()
    return open_encoder(model, SourceSettings(), engine, ServingSettings(), UpstreamSettings())


def as_documents(documents: AnyDocument | Iterable[AnyDocument]) -> Iterator[Document]:
    """The items as documents. Raises `InputError` for an item that is no document, and for metadata that no search
    could ask for."""
    several = [documents] if isinstance(documents, (Document, Mapping, str)) else documents
    for number, item in enumerate(several):
        if not isinstance(item, (Document, Mapping, str)):
            raise InputError(
                f"Document {number} is {shown(item)}; it must be a text, a dict with a text, or a Document.",
                param=f"documents[{number}]",
            )
        document = document_of(item)
        if not isinstance(document.text, str):
            raise InputError(f"Document {number} has no field 'text' with a string.", param=f"documents[{number}]")
        for name, value in document.metadata.items():
            if (wrong := misfit(value)) is not None:
                raise InputError(f"Document {number}: the field {name!r} is {wrong}.", param=f"documents[{number}]")
        yield document if document.id else replace(document, id=document.digest())


def document_of(item: AnyDocument) -> Document:
    if isinstance(item, Document):
        return item
    metadata: dict[str, Any] = {"text": item} if isinstance(item, str) else dict(item)
    known = {name: metadata.pop(name, None) for name in FIELDS}
    return Document(**{**known, "kind": known["kind"] or PLAIN_TEXT}, metadata=metadata)
