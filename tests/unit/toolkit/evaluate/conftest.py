"""Small labelled sets of each kind, in files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from farthing import Embedder

BIRDS = [
    "The wren is a small brown bird.",
    "Crows are clever birds.",
    "A penny is a coin.",
    "The train leaves at noon.",
]


def write_lines(path: Path, records: Iterable[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records))
    return path


def write_qrels(path: Path, rows: Iterable[tuple[str, str, int]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{grade}\n" for q, d, grade in rows))
    return path


@pytest.fixture
def retrieval_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "birds"
    write_lines(
        folder / "corpus.jsonl",
        [{"_id": f"d{place}", "title": "Note" if place == 0 else "", "text": text} for place, text in enumerate(BIRDS)],
    )
    asked = {"small bird": "q0", "money": "q1", "unjudged": "q2", "when does the train go?": "q3"}
    write_lines(folder / "queries.jsonl", [{"_id": name, "text": text} for text, name in asked.items()])
    write_qrels(
        folder / "qrels.tsv", [("q0", "d0", 2), ("q0", "d1", 1), ("q1", "d2", 1), ("q2", "d0", 0), ("q3", "d3", 1)]
    )
    return folder


@pytest.fixture
def cross_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "two"
    for language, texts in {"en": ["a bird", "a coin"], "de": ["ein Vogel", "eine Münze"]}.items():
        for what in ("corpus", "queries"):
            write_lines(folder / f"{what}.{language}.jsonl", [{"id": str(n), "text": t} for n, t in enumerate(texts)])
    write_qrels(folder / "qrels.tsv", [("0", "0", 1), ("1", "1", 1)])
    return folder


@pytest.fixture
def pairs_dir(tmp_path: Path) -> Path:
    rows = [("a bird", "a small bird", 4.5), ("a bird", "the train", 0.0), ("a coin", "a penny", 3)]
    write_lines(tmp_path / "alike" / "test.jsonl", [{"s1": a, "s2": b, "score": score} for a, b, score in rows])
    return tmp_path / "alike"


@pytest.fixture
def labels_dir(tmp_path: Path) -> Path:
    texts = {"bird": ["a wren sings", "two crows fly", "an owl sees"], "coin": ["a penny", "ten euros", "some money"]}
    rows = [{"text": text, "label": label} for label, found in texts.items() for text in found]
    write_lines(tmp_path / "kinds" / "train.jsonl", rows)
    write_lines(
        tmp_path / "kinds" / "test.jsonl", [{"text": "a bird", "label": "bird"}, {"text": "cash", "label": "coin"}]
    )
    return tmp_path / "kinds"


@pytest.fixture
def translation_dir(tmp_path: Path) -> Path:
    rows = [("ein Vogel", "a bird"), ("eine Münze", "a coin"), ("der Zug", "the train")]
    write_lines(tmp_path / "said" / "deu-eng.jsonl", [{"src": source, "tgt": target} for source, target in rows])
    write_lines(tmp_path / "said" / "fra-eng.jsonl", [{"src": "un oiseau", "tgt": "a bird"}])
    return tmp_path / "said"


@pytest.fixture(scope="session")
def starter(starter_dir: Path) -> Iterator[Embedder]:
    with Embedder(str(starter_dir)) as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny(tiny_qwen3: Path) -> Iterator[Embedder]:
    with Embedder(str(tiny_qwen3)) as opened:
        yield opened
