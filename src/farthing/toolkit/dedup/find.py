"""Duplicates of a set of texts: the same texts first, then those whose vectors are near.

In: texts, and their unit vectors or what makes them. Out: for each text what it repeats, how far away that is, and
whether it is dropped. Vectors are asked for once for texts that are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from farthing.core.errors import InputError
from farthing.toolkit.dedup.exact import first_of_each, found_in
from farthing.toolkit.dedup.near import near_duplicates, near_duplicates_of, nothing_near
from farthing.toolkit.dedup.order import Keep, order_of

DEFAULT_THRESHOLD = 0.35

# Unit vectors of all texts, float32 [texts, dimensions]; or a function that is given indices (int64) and returns such a
# table in which at least their rows are filled.
Vectors = np.ndarray | Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Duplicates:
    """
    Attributes:
        threshold: greatest distance of what is dropped; None where only the same texts were looked for.
        dropped: bool [texts].
        exact: bool [texts], dropped because the kept one is the same text.
        nearest: int64 [texts], the kept text that a dropped one repeats; for others the nearest that is kept and comes
            before; -1 where there is none. Of the other set, if there are two.
        distances: float32 [texts], Euclidean, to that one; NaN where there is none. 0 for the same text.
    """

    threshold: float | None
    dropped: np.ndarray
    exact: np.ndarray
    nearest: np.ndarray
    distances: np.ndarray


def find_duplicates(
    texts: Sequence[str],
    vectors: Vectors | None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    keep: Keep = "first",
    times: Sequence[float] | None = None,
    show_progress: bool = False,
) -> Duplicates:
    """What in `texts` repeats something else in it.

    Args:
        vectors: None to look for the same texts only.
        threshold: greatest Euclidean distance of unit vectors, sqrt(2 - 2 cosine).
        keep: which of a group is kept, see `order_of`, and `times` for "newest".

    A dropped text is within the threshold of the kept one that it names: with the vector of that text which stands for
    all that are the same. Raises `InputError` when there are not as many vectors as texts, and what making them raises.
    """
    order = order_of(texts, keep, times)
    firsts, _ = first_of_each(texts, order.tolist())
    near = nothing_near(len(texts))
    if vectors is not None:
        leaders = order[firsts[order] == order]
        near = near_duplicates(made(vectors, leaders, texts), leaders, threshold, show_progress=show_progress)
    repeats = firsts != np.arange(len(texts))
    exact = repeats & ~near.dropped[firsts]
    return Duplicates(
        threshold=None if vectors is None else threshold,
        dropped=repeats | near.dropped[firsts],
        exact=exact,
        nearest=np.where(exact, firsts, near.nearest[firsts]),
        distances=np.where(exact, np.float32(0), near.distances[firsts]),
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
    """What in `texts` repeats something in `others`. Texts of one set are not compared with each other.

    Arguments and errors are those of `find_duplicates`; vectors of two sizes are an `InputError` too.
    """
    other_firsts, by_digest = first_of_each(others, range(len(others)))
    firsts, _ = first_of_each(texts, range(len(texts)))
    same = found_in(texts, by_digest)
    near = nothing_near(len(texts))
    if vectors is not None and other_vectors is not None:
        rows = np.flatnonzero((firsts == np.arange(len(texts))) & (same < 0))
        other_rows = np.flatnonzero(other_firsts == np.arange(len(others)))
        table, other_table = made(vectors, rows, texts), made(other_vectors, other_rows, others)
        check_dimensions(table, other_table)
        near = near_duplicates_of(table, rows, other_table, other_rows, threshold, show_progress=show_progress)
    exact = same >= 0
    return Duplicates(
        threshold=None if vectors is None else threshold,
        dropped=exact | near.dropped[firsts],
        exact=exact,
        nearest=np.where(exact, same, near.nearest[firsts]),
        distances=np.where(exact, np.float32(0), near.distances[firsts]),
    )


def made(vectors: Vectors, rows: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """The table of vectors, in which `rows` are filled."""
    table = vectors if isinstance(vectors, np.ndarray) else vectors(rows)
    if len(table) != len(texts):
        raise InputError(
            f"There are {len(table):,} vectors for {len(texts):,} texts. Give one a text.", param="vectors"
        )
    return table


def check_dimensions(table: np.ndarray, other_table: np.ndarray) -> None:
    if table.shape[1] != other_table.shape[1]:
        raise InputError(
            f"The vectors of one set have {table.shape[1]} dimensions, those of the other {other_table.shape[1]}. Make "
            "both with the same model.",
            param="vectors",
        )
