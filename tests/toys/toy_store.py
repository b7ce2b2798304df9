"""A kind of database that there is not, to show that one is a file and a row: indexes in the memory of this process."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from farthing.toolkit.stores.comparable import comparable, comparisons
from farthing.toolkit.stores.database import MANIFEST, DatabaseKind
from farthing.toolkit.stores.passage import Passage
from farthing.toolkit.stores.store import Candidates, Found, StoreFacts
from farthing.toolkit.stores.where import Condition

PREFIX = "toy:"
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "has": operator.contains, "lacks": lambda held, value: value not in held,
}  # fmt: skip
Row = tuple[Passage, frozenset[str], np.ndarray]

NOTES: dict[str, dict[str, str]] = defaultdict(dict)
STORES: dict[str, dict[str, ToyStore]] = defaultdict(dict)


class ToyStore:
    keeps_replaced_s = 0.0

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}

    def put(self, passages: Sequence[Passage], words: Sequence[str], vectors: np.ndarray) -> None:
        put: dict[str, list[Row]] = defaultdict(list)
        for passage, text, vector in zip(passages, words, vectors, strict=True):
            put[passage.document].append((passage, frozenset(text.split()), vector))
        self._rows |= put

    def delete(self, documents: Sequence[str]) -> int:
        return sum(self._rows.pop(document, None) is not None for document in documents)

    def digests(self, documents: Sequence[str]) -> dict[str, str]:
        return {name: self._rows[name][0][0].digest for name in documents if name in self._rows}

    def documents(self) -> list[str]:
        return list(self._rows)

    def nearest(self, vector: np.ndarray, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        return self._best(where, num, lambda row: float(row[2] @ vector))

    def matching(self, words: str, num: int, where: Sequence[Condition] = ()) -> list[Found]:
        wanted = set(words.split())
        return [found for found in self._best(where, num, lambda row: len(wanted & row[1])) if found.score]

    def candidates(self, vector: np.ndarray, words: str, num: int, where: Sequence[Condition] = ()) -> Candidates:
        near, matching = self.nearest(vector, num, where), self.matching(words, num, where)
        rows = {row[0].id: row for row in self._all()}
        passages = {found.passage.id: found.passage for found in (*near, *matching)}

        def held(keys: Sequence[Any], some: Collection[str]) -> list[set[str]]:
            return [set(some) & rows[key][1] for key in keys]

        return Candidates(
            {key: float(rows[key][2] @ vector) for key in passages},
            {found.passage.id: found.score for found in matching},
            lambda keys: [passages[key] for key in keys],
            held,
        )

    def has_any(self, keys: Sequence[str]) -> bool:
        return any(set(keys) & set(comparable(row[0].metadata)) for row in self._all())

    def sample_fields(self, num_passages: int) -> set[str]:
        return {name for row in list(self._all())[:num_passages] for name in row[0].metadata}

    def passages(self, batch_size: int = 1024) -> Iterator[list[Passage]]:  # noqa: ARG002
        yield from ([row[0] for row in rows] for rows in self._rows.values())

    def build(self) -> None:
        pass

    def facts(self) -> StoreFacts:
        return StoreFacts(len(self._rows), len(list(self._all())), 0, None)

    def close(self) -> None:
        pass

    def _all(self) -> Iterator[Row]:
        return (row for rows in list(self._rows.values()) for row in rows)

    def _best(self, where: Sequence[Condition], num: int, score: Callable[[Row], float]) -> list[Found]:
        met = [row for row in self._all() if all(meets(row[0], condition) for condition in where)]
        return [Found(row[0], score(row)) for row in sorted(met, key=score, reverse=True)[:num]]


def meets(passage: Passage, condition: Condition) -> bool:
    fields = comparable(passage.metadata)
    for asked in (found for part in comparisons(condition) for found in part):
        if asked.key in fields:
            return bool(COMPARED[asked.operator](fields[asked.key], asked.value))
    return False


class ToyDatabase:
    def __init__(self, place: str) -> None:
        self.place = place

    def read(self, name: str) -> str | None:
        return NOTES[self.place].get(name)

    def write(self, name: str, note: str | None) -> None:
        NOTES[self.place].pop(name, None)
        if note is not None:
            NOTES[self.place][name] = note

    def has(self, data: str) -> bool:
        return data in STORES[self.place]

    def open(self, data: str, dimensions: int) -> ToyStore:  # noqa: ARG002
        return STORES[self.place].setdefault(data, ToyStore())

    def drop(self, data: str) -> None:
        STORES[self.place].pop(data, None)

    def begun_file(self) -> Path | None:
        return None

    def check_free(self) -> None:
        pass

    def making(self) -> AbstractContextManager[None]:
        return nullcontext()

    def writing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def remove(self) -> list[str]:
        NOTES.pop(self.place, None)
        STORES.pop(self.place, None)
        return []


class ToyShelf:
    def __init__(self, place: str) -> None:
        self.place = place

    def names(self) -> list[str]:
        start = f"{self.place}/"
        return sorted(name.removeprefix(start) for name in NOTES if name.startswith(start) and MANIFEST in NOTES[name])

    def has(self, name: str) -> bool:
        return name in self.names()

    def database(self, name: str) -> ToyDatabase:
        return ToyDatabase(f"{self.place}/{name}")

    def settle(self) -> None:
        pass


def toy_kind() -> DatabaseKind:
    return DatabaseKind(ToyDatabase, ToyShelf)
