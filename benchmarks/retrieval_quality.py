"""How well each weight format retrieves: nDCG@10 on labelled sets, and how close its vectors are to the first format's.

    python benchmarks/retrieval_quality.py --data DIR [--models starter,FOLDER] [--sets scifact,cmrc2018_dev_zh]
                                           [--formats fp32,int8,QUANTISED] [--max-documents N] [--keep DIR]

DIR holds one folder a set, in the layout of BEIR (https://github.com/beir-cellar/beir): corpus.jsonl (`id` or `_id`,
`title`, `text`), queries.jsonl and qrels.tsv. Corpus and queries go through `farthing.Embedder` with the model's own
prompts, texts over its context are cut, and every document is scored. QUANTISED is a folder that `farthing quantize`
made of the model. Differences are of the same queries, with the standard error of their mean; seconds are those of
embedding, one run, and no benchmark of speed. With --max-documents only so many documents are searched, all relevant
ones among them: that is easier, and noted beside the set's name. With --keep vectors are written to DIR and taken from
there, so that a run that was broken off goes on; seconds are then those of what was left to embed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from farthing import Embedder
from report import facts, json_line, table

DEPTH = 10
PIECE_TEXTS = 256  # embedded at a time, and kept in one file


@dataclass(frozen=True)
class RetrievalSet:
    """`relevance` is [queries, documents]; queries without a relevant document are left out."""

    documents: list[str]
    queries: list[str]
    relevance: np.ndarray


@dataclass(frozen=True)
class Vectors:
    documents: np.ndarray
    queries: np.ndarray
    seconds: float

    def all(self) -> np.ndarray:
        return np.concatenate((self.documents, self.queries))


def read_lines(path: Path) -> dict[str, str]:
    """Texts by id; a title goes before its text, as BEIR has it."""
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {
        str(record.get("_id", record.get("id"))): f"{record.get('title', '')} {record['text']}".strip()
        for record in records
    }


def read_set(folder: Path) -> RetrievalSet:
    documents, queries = read_lines(folder / "corpus.jsonl"), read_lines(folder / "queries.jsonl")
    rows, columns = ({key: place for place, key in enumerate(texts)} for texts in (queries, documents))
    relevance = np.zeros((len(queries), len(documents)), dtype=np.float32)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        relevance[rows[query], columns[document]] = float(grade)
    judged = np.asarray(relevance.any(axis=1))
    asked = [query for query, is_judged in zip(queries.values(), judged, strict=True) if is_judged]
    return RetrievalSet(list(documents.values()), asked, relevance[judged])


def first_documents(data: RetrievalSet, count: int) -> RetrievalSet:
    """All documents that answer a query, and others in the set's order until there are `count`."""
    answers = data.relevance.any(axis=0)
    others = np.flatnonzero(~answers)[: max(0, count - int(answers.sum()))]
    kept = np.sort(np.concatenate((np.flatnonzero(answers), others)))
    return RetrievalSet([data.documents[index] for index in kept], data.queries, data.relevance[:, kept])


def ndcg(scores: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """nDCG@10 of each query, linear gain, the ideal over all documents; both arguments are [queries, documents]."""
    discounts = 1 / np.log2(np.arange(2, 2 + min(DEPTH, scores.shape[1])))
    found = np.argsort(-scores, axis=1, kind="stable")[:, : len(discounts)]
    gained = np.take_along_axis(relevance, found, axis=1) @ discounts
    ideal = -np.sort(-relevance, axis=1)[:, : len(discounts)] @ discounts
    return np.asarray(gained / ideal)


def embed(embedder: Embedder, data: RetrievalSet, kept: Path | None) -> Vectors:
    started = time.perf_counter()
    documents = np.concatenate(list(embedded(embedder, data.documents, "document", kept)))
    queries = np.concatenate(list(embedded(embedder, data.queries, "query", kept)))
    return Vectors(documents, queries, time.perf_counter() - started)


def embedded(
    embedder: Embedder, texts: list[str], kind: Literal["document", "query"], kept: Path | None
) -> Iterator[np.ndarray]:
    """Vectors of a piece of the texts after the other; `kept` is a folder for them."""
    for start in range(0, len(texts), PIECE_TEXTS):
        file = kept / f"{kind}-{start}.npy" if kept else None
        if file and file.is_file():
            yield np.load(file)
            continue
        vectors = embedder.encode(texts[start : start + PIECE_TEXTS], input_type=kind, truncate=True)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial.npy")
            np.save(partial, vectors)
            partial.replace(file)
        yield vectors


def open_model(model: str, weight_format: str) -> Embedder:
    """In the place of a format there may be a folder that `farthing quantize` made of the model."""
    return Embedder(weight_format) if Path(weight_format).is_dir() else Embedder(model, format=weight_format)


def embed_all(
    model: str, formats: list[str], sets: dict[str, RetrievalSet], keep: Path | None
) -> dict[str, list[Vectors]]:
    """For each set, the vectors of each format."""
    found: dict[str, list[Vectors]] = {name: [] for name in sets}
    for weight_format in formats:
        with open_model(model, weight_format) as embedder:
            for name, data in sets.items():
                kept = keep / Path(model).name / Path(weight_format).name / name if keep else None
                found[name].append(embed(embedder, data, kept))
    return found


def compare(data: RetrievalSet, by_format: list[Vectors]) -> Iterator[dict[str, float]]:
    """Figures of each format; differences and cosines are to the first."""
    reference = by_format[0].all()
    gains = [ndcg(vectors.queries @ vectors.documents.T, data.relevance) for vectors in by_format]
    for vectors, gain in zip(by_format, gains, strict=True):
        difference = 100 * (gain - gains[0])
        cosines = np.einsum("ij,ij->i", vectors.all(), reference)
        yield {
            "ndcg": 100 * float(gain.mean()),
            "difference": float(difference.mean()),
            "standard_error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
            "cosine_mean": float(cosines.mean()),
            "cosine_min": float(cosines.min()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a set")
    parser.add_argument("--models", default="starter", help="names or folders that Embedder takes")
    parser.add_argument("--sets", default="scifact,cmrc2018_dev_zh")
    parser.add_argument("--formats", default="fp32,int8", help="or folders; others are compared with the first")
    parser.add_argument("--max-documents", type=int, help="search fewer, among them all that answer a query")
    parser.add_argument("--keep", type=Path, help="write vectors to this folder, and take those that are there")
    arguments = parser.parse_args()
    formats = arguments.formats.split(",")
    sets = {name: read_set(arguments.data / name) for name in arguments.sets.split(",")}
    if arguments.max_documents:
        sets = {
            f"{name}, {arguments.max_documents} documents": first_documents(data, arguments.max_documents)
            for name, data in sets.items()
        }
    lines, results, seconds = [], {}, {}
    for model in arguments.models.split(","):
        for set_name, by_format in embed_all(model, formats, sets, arguments.keep).items():
            for name, vectors, got in zip(formats, by_format, compare(sets[set_name], by_format), strict=True):
                row = [Path(model).name, set_name, Path(name).name]
                results[" / ".join(row)], seconds[" / ".join(row)] = got, [vectors.seconds]
                change = f"{got['difference']:+.2f} ± {got['standard_error']:.2f}"
                cosines = [f"{got['cosine_mean']:.5f}", f"{got['cosine_min']:.5f}"]
                lines.append([*row, f"{got['ndcg']:.2f}", change, *cosines, f"{vectors.seconds:.0f}"])
    header = ["model", "set", "format", "nDCG@10", "difference", "mean cosine", "least cosine", "seconds"]
    print(table(header, lines))
    about = facts(["numpy", "farthing"])
    print(json_line(about, seconds, benchmark="retrieval_quality", results=results))


if __name__ == "__main__":
    main()
