"""Duplicates in a set of texts: first the same texts, then texts whose vectors are near.

In: texts, and their unit vectors or a function that makes them. Out: for each text the text that it repeats, the
distance to that text, and whether it is dropped. Texts that are the same need only one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.toolkit.dedup.exact import first_of_each, found_in
from farthing.toolkit.dedup.near import near_duplicates, near_duplicates_of, nothing_near
from farthing.toolkit.dedup.order import Keep, order_of
from farthing.toolkit.text_set import TextVectors

DEFAULT_THRESHOLD = 0.35

# Vectors of all texts (as an array: unit vectors, float32 [texts, dimensions]), or a function that takes indices of
# texts (int64) and returns such vectors, in which at least the rows of these indices are filled.
Vectors = np.ndarray | TextVectors | Callable[[np.ndarray], TextVectors]


@dataclass(frozen=True)
class Duplicates:
    """
    Attributes:
        threshold: greatest distance of dropped texts; None where only the same texts were looked for.
        dropped: bool [texts].
        exact: bool [texts], whether a text is dropped because it is the same as the kept one.
        nearest: int64 [texts], the kept text that a dropped text repeats; for other texts the nearest of the kept texts
            before it; -1 where there is none. These are texts of the other set, if there are two sets.
        distances: float32 [texts], Euclidean, to the text in `nearest`; NaN where there is none, 0 for the same text.
        num_unknown: how many different texts have no word that the model knows. They are told apart by spelling alone.
        errors: of the texts that cannot be embedded. These are told apart by spelling alone too.
    """

    threshold: float | None
    dropped: np.ndarray
    exact: np.ndarray
    nearest: np.ndarray
    distances: np.ndarray
    num_unknown: int = 0
    errors: Sequence[InputError] = ()


def find_duplicates(
    texts: Sequence[str],
    vectors: Vectors | None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    keep: Keep = "first",
    times: Sequence[float] | None = None,
    show_progress: bool = False,
) -> Duplicates:
    """Find the texts that repeat another one of `texts`.

    Args:
        vectors: None to look only for the same texts.
        threshold: greatest Euclidean distance of unit vectors, sqrt(2 - 2 cosine).
        keep: which text of a group is kept, see `order_of`, also for the `times` of "newest".

    A dropped text is within the threshold of the kept text that it names; one text's vector stands for all texts that
    are the same. Raises `InputError` when there are not as many vectors as texts, and the errors of making them.
    """
    order = order_of(texts, keep, times)
    firsts, _ = first_of_each(texts, order.tolist())
    near, num_unknown = nothing_near(len(texts)), 0
    errors: tuple[InputError, ...] = ()
    if vectors is not None:
        leaders = order[firsts[order] == order]
        found = made(vectors, leaders, texts)
        compared = leaders[~found.says_nothing[leaders]]
        near = near_duplicates(found.table, compared, threshold, show_progress=show_progress)
        num_unknown, errors = int(found.unknown[leaders].sum()), tuple(found.errors.values())
    repeats = firsts != np.arange(len(texts))
    exact = repeats & ~near.dropped[firsts]
    return Duplicates(
        threshold=None if vectors is None else threshold,
        dropped=repeats | near.dropped[firsts],
        exact=exact,
        nearest=np.where(exact, firsts, near.nearest[firsts]),
        distances=np.where(exact, np.float32(0), near.distances[firsts]),
        num_unknown=num_unknown,
        errors=errors,
    )


def find_repeats(
    texts: Sequence[str],
    vectors: Vectors | None,
    others: Sequence[str],
    other_vectors: Vectors | None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    show_progress: bool = False,
) -> Duplicates:
    """Find the texts of `texts` that repeat one of `others`. Texts of the same set are not compared with each other.

    Arguments and errors are as in `find_duplicates`; vectors of two different lengths are an `InputError` too.
    """
    other_firsts, by_digest = first_of_each(others, range(len(others)))
    firsts, _ = first_of_each(texts, range(len(texts)))
    same = found_in(texts, by_digest)
    near, num_unknown = nothing_near(len(texts)), 0
    errors: tuple[InputError, ...] = ()
    if vectors is not None and other_vectors is not None:
        rows = np.flatnonzero((firsts == np.arange(len(texts))) & (same < 0))
        other_rows = np.flatnonzero(other_firsts == np.arange(len(others)))
        found, other = made(vectors, rows, texts), made(other_vectors, other_rows, others)
        check_dimensions(found.table, other.table)
        compared, others_compared = rows[~found.says_nothing[rows]], other_rows[~other.says_nothing[other_rows]]
        num_unknown = int(found.unknown[rows].sum())
        errors = (*found.errors.values(), *other.errors.values())
        near = near_duplicates_of(
            found.table, compared, other.table, others_compared, threshold, show_progress=show_progress
        )
    exact = same >= 0
    return Duplicates(
        threshold=None if vectors is None else threshold,
        dropped=exact | near.dropped[firsts],
        exact=exact,
        nearest=np.where(exact, same, near.nearest[firsts]),
        distances=np.where(exact, np.float32(0), near.distances[firsts]),
        num_unknown=num_unknown,
        errors=errors,
    )


def made(vectors: Vectors, rows: np.ndarray, texts: Sequence[str]) -> TextVectors:
    """Return vectors in which the rows `rows` are filled. Raises `InputError` when there are not as many as texts."""
    if isinstance(vectors, np.ndarray):
        found = TextVectors(vectors, np.zeros(len(vectors), dtype=bool))
    else:
        found = vectors if isinstance(vectors, TextVectors) else vectors(rows)
    if len(found.table) != len(texts):
        raise InputError(
            f"There are {len(found.table):,} vectors for {len(texts):,} texts. Give one a text.", param="vectors"
        )
    return found


def check_dimensions(table: np.ndarray, other_table: np.ndarray) -> None:
    if table.shape[1] != other_table.shape[1]:
        raise InputError(
            f"The vectors of one set have {table.shape[1]} dimensions, those of the other {other_table.shape[1]}. Make "
            "both with the same model.",
            param="vectors",
        )
