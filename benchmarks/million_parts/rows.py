"""Rows for an index: texts of real sentences, and vectors that belong to them. Any row can be made at any time.

A row has four sentences of one set. Its vector is the weighted mean of theirs
(their common mean taken off), plus Gaussian noise of length `ROW_NOISE` that has the covariance of the sentences, all
brought to `DIMENSIONS` by one fixed orthonormal matrix. So rows lie about as the sentences do: distances grow with the
rank of a neighbour as they do there, which white noise would make much harder than texts are. A query is a row with
more such noise, and three to eight words of that row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from farthing.toolkit.stores.passage import Passage
from million_parts.sentences import Sentences

DIMENSIONS = 1024
BLOCK_ROWS = 1000
ROW_NOISE, QUERY_NOISE = 0.6, 0.5
WEIGHTS = np.array([4, 2, 1, 1], dtype=np.float32) / 8


@dataclass(frozen=True)
class Query:
    vector: np.ndarray
    words: list[str]


class Rows:
    def __init__(self, sentences: Sentences, num_rows: int) -> None:
        self.num_rows = num_rows
        self._sentences = sentences
        random = np.random.default_rng(0)
        square = np.linalg.qr(random.standard_normal((DIMENSIONS, DIMENSIONS)))[0].astype(np.float32)
        centred = unit(sentences.vectors - sentences.vectors.mean(axis=0))
        wide = square[: centred.shape[1]]
        self._projected = centred @ wide
        self._noise = np.linalg.cholesky(np.cov(centred.T)).T.astype(np.float32) @ wide
        self._set_starts = np.searchsorted(sentences.sets, np.arange(sentences.sets[-1] + 2))

    def parts(self, block: int) -> np.ndarray:
        """Which sentences each row of the block has: [rows, 4]."""
        random = np.random.default_rng((1, block))
        count = min(BLOCK_ROWS, self.num_rows - block * BLOCK_ROWS)
        sets = self._sentences.sets[random.integers(len(self._sentences.sets), size=count)]
        return random.integers(self._set_starts[sets][:, None], self._set_starts[sets + 1][:, None], size=(count, 4))

    def vectors(self, block: int) -> np.ndarray:
        means = np.einsum("rpd,p->rd", self._projected[self.parts(block)], WEIGHTS)
        return self._with_noise(means, ROW_NOISE, np.random.default_rng((2, block)))

    def blocks(self) -> Iterator[tuple[list[Passage], list[str], np.ndarray]]:
        """Passages, their words and their vectors, as `Store.put` takes them; each passage is a document."""
        texts, words = self._sentences.texts, self._sentences.words
        for block in range(-(-self.num_rows // BLOCK_ROWS)):
            parts = self.parts(block)
            names = [f"document-{block * BLOCK_ROWS + place:07}" for place in range(len(parts))]
            passages = [
                Passage(f"{name}#0", name, f"{block:032x}", " ".join(texts[part] for part in row), name, "rows.jsonl",
                        metadata={"block": block, "set": int(self._sentences.sets[row[0]])})
                for name, row in zip(names, parts.tolist(), strict=True)
            ]  # fmt: skip
            yield passages, [" ".join(words[part] for part in row) for row in parts.tolist()], self.vectors(block)

    def queries(self, count: int) -> list[Query]:
        random = np.random.default_rng(3)
        return [self._query(int(row), random) for row in random.integers(self.num_rows, size=count)]

    def _query(self, row: int, random: np.random.Generator) -> Query:
        block, place = divmod(row, BLOCK_ROWS)
        vector = self._with_noise(self.vectors(block)[place][None], QUERY_NOISE, random)[0]
        words = [word for part in self.parts(block)[place] for word in self._sentences.words[part].split()]
        asked = random.choice(words, size=min(len(words), int(random.integers(3, 9))), replace=False)
        return Query(vector, asked.tolist())

    def _with_noise(self, vectors: np.ndarray, length: float, random: np.random.Generator) -> np.ndarray:
        noise = random.standard_normal((len(vectors), len(self._noise)), dtype=np.float32) @ self._noise
        return unit(unit(vectors) + np.float32(length) * noise)

    def nearest(self, vectors: np.ndarray, num: int) -> np.ndarray:
        """Numbers of the rows with the greatest cosines, the greatest first: [queries, num]."""
        scores, rows = np.full((len(vectors), num), -2, dtype=np.float32), np.zeros((len(vectors), num), dtype=np.int64)
        for block in range(-(-self.num_rows // BLOCK_ROWS)):
            here = self.vectors(block)
            numbers = np.broadcast_to(np.arange(len(here)) + block * BLOCK_ROWS, (len(vectors), len(here)))
            all_scores = np.concatenate((scores, vectors @ here.T), axis=1)
            best = np.argpartition(-all_scores, num, axis=1)[:, :num]
            scores = np.take_along_axis(all_scores, best, axis=1)
            rows = np.take_along_axis(np.concatenate((rows, numbers), axis=1), best, axis=1)
        return np.take_along_axis(rows, np.argsort(-scores, axis=1), axis=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
