"""Searches an index.

In: a query in words. Out: passages, best first, with the part of each that answers. A search by meaning needs the
index's encoder; a search by words alone needs no model at all. A reranker, where there is one, orders the best
candidates anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import NamedTuple, Protocol

from farthing.core.deferred import dataclass
from farthing.core.errors import EmptyInputError, InputError
from farthing.serving.request import EmbedRequest
from farthing.toolkit.encoder import Encoder
from farthing.toolkit.index.adding import embedded_text
from farthing.toolkit.index.excerpt import Wanted, is_of_lines
from farthing.toolkit.index.hybrid import Blend, Hit, Mode, by_both, by_vector, by_words
from farthing.toolkit.index.index import VectorIndex
from farthing.toolkit.index.result import SearchResult
from farthing.toolkit.index.unmet import check_met
from farthing.toolkit.index.words import Asked
from farthing.toolkit.stores.where import Condition

# How many passages a reranker looks at, for each result that is asked for, and at least.
RERANKED_PER_RESULT, MIN_RERANKED = 3, 30
MAX_QUERY_CHARS, MAX_RESULTS = 10_000, 1_000


class Ranked(Protocol):
    """What a reranker says of one document: its index in the list that was given, and its score from 0 to 1."""

    @property
    def index(self) -> int: ...

    @property
    def score(self) -> float: ...


class Ranker(Protocol):
    """A reranker, such as `farthing.Reranker`."""

    def rank(self, query: str, documents: Sequence[str]) -> Sequence[Ranked]: ...


@dataclass(frozen=True)
class Query:
    """
    Attributes:
        text: the query, of at most `MAX_QUERY_CHARS` characters; the instruction may have as many.
        num_results: the most results, from 1 to `MAX_RESULTS`.
        where: conditions, all of which must hold.
        instruction: the task in words, for models that take one with a query.
        all_passages: whether several passages of one document may be results; otherwise only the best of each document
            is.
    """

    text: str
    num_results: int = 10
    mode: Mode = "hybrid"
    where: Sequence[Condition] = ()
    blend: Blend = field(default_factory=Blend)
    instruction: str | None = None
    all_passages: bool = False

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise EmptyInputError("The query is empty; say what to search for.", param="query")
        for name, text in (("query", self.text), ("instruction", self.instruction or "")):
            if len(text) > MAX_QUERY_CHARS:
                raise InputError(
                    f"The {name} has {len(text):,} characters; at most {MAX_QUERY_CHARS:,} are taken. Ask with the "
                    "sentences that matter.",
                    param=name,
                )
        if not 1 <= self.num_results <= MAX_RESULTS:
            raise InputError(
                f"{self.num_results} results were asked for; it must be from 1 to {MAX_RESULTS}.", param="k"
            )
        if self.mode not in ("hybrid", "vector", "keyword"):
            raise InputError(f"mode is {self.mode!r}; it must be hybrid, vector or keyword.", param="mode")


class Scored(NamedTuple):
    hit: Hit
    relevance: float | None


def search(
    index: VectorIndex,
    query: Query,
    encoder: Encoder | None = None,
    reranker: Ranker | None = None,
    on_step: Callable[[], object] = lambda: None,
) -> list[SearchResult]:
    """Search an index; the best results come first.

    Args:
        encoder: the index's encoder; not needed in the mode "keyword".
        on_step: called often; an error that it raises ends the search.

    Raises:
        WrongSpaceError: the encoder's vectors are not of the index's space.
        InputError: the query cannot be embedded, or no document can meet a condition, for example because none has the
            field.
    """
    wanted = max(MIN_RERANKED, RERANKED_PER_RESULT * query.num_results) if reranker else query.num_results
    hits = candidates(index, query, encoder, wanted, on_step)
    if not hits:
        check_met(index.store, query.where)
    scored = reranked(query.text, hits, reranker) if reranker else [Scored(hit, None) for hit in hits]
    marked = Wanted(query.text, index.segmenter)
    results = []
    for item in scored[: query.num_results]:
        on_step()
        results.append(result(item, marked))
    return results


def candidates(
    index: VectorIndex, query: Query, encoder: Encoder | None, num: int, on_step: Callable[[], object]
) -> list[Hit]:
    """The best hits. Unless all passages are wanted, the search goes on until there are `num` documents or no more
    hits."""
    ask = asking(index, query, encoder)
    depth = num if query.all_passages else 2 * num
    while True:
        on_step()
        hits = ask(depth)
        chosen = hits if query.all_passages else best_of_documents(hits)
        if len(chosen) >= num or len(hits) < depth:
            return chosen[:num]
        depth *= 4


def asking(index: VectorIndex, query: Query, encoder: Encoder | None) -> Asking:
    """A function that returns any number of hits; the query is embedded and segmented only once."""
    asked = Asked([], []) if query.mode == "vector" else index.segmenter.asked(query.text)
    if query.mode == "keyword":
        return lambda num: by_words(index.store, asked.content, num, query.where)
    assert encoder is not None, "only a search by words needs no encoder"
    index.check(encoder)  # before anything is computed
    request = EmbedRequest([query.text], input_type="query", instruction=query.instruction, dimensions=index.dimensions)
    result = encoder.encode_request(request)
    index.check_made(result, encoder)
    vector = result.vectors[0]
    if query.mode == "vector":
        return lambda num: by_vector(index.store, vector, num, query.where)
    return lambda num: by_both(index.store, vector, asked, num, query.where, query.blend)


class Asking(Protocol):
    def __call__(self, num: int) -> list[Hit]: ...


def best_of_documents(hits: Sequence[Hit]) -> list[Hit]:
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.passage.document, hit)
    return list(best.values())


def reranked(query: str, hits: Sequence[Hit], reranker: Ranker) -> list[Scored]:
    if not hits:
        return []
    ranking = reranker.rank(query, [embedded_text(hit.passage) for hit in hits])
    return [Scored(hits[ranked.index], ranked.score) for ranked in ranking]


def result(scored: Scored, marked: Wanted) -> SearchResult:
    hit, relevance = scored
    return SearchResult(
        passage=hit.passage,
        score=hit.score if relevance is None else relevance,
        cosine=hit.cosine,
        bm25=hit.bm25,
        relevance=relevance,
        excerpt=marked.excerpt(hit.passage.text, keeps_lines=is_of_lines(hit.passage.source)),
    )
