"""How well `farthing cluster` groups texts whose groups are known.

    python benchmarks/cluster_quality.py --data DIR [--models starter] [--pairs-model FOLDER] [--keep DIR]

DIR holds banking77/{train,test}.jsonl (`text`, `label`), tatoeba/cmn-eng.jsonl (`src`, `tgt`) and
xquad/corpus.{zh,en}.jsonl (`id`, `text`). Banking77: v-measure against the 77 intents, once with all noise as a cluster
of its own, once without the texts that are noise. Pairs: Chinese and English texts that are translations, all in one
set; the share of all pairs that are in one cluster, where a pair with a text that is noise counts as apart, and the
share of those pairs of which neither is. All settings are the command's own but those that the table names.
With --keep vectors are written to DIR and taken from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import v_measure_score

from farthing import Embedder
from farthing.toolkit.cluster.clustering import Clustering, cluster
from report import facts, table

# (--min-cluster-size, --min-samples) of the tables' rows; the first is the default.
SETTINGS = ((5, 1), (5, 5))
PAIR_SETTINGS = ((5, 1), (3, 1), (2, 1))


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pair_sets(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """(name, English texts, their Chinese translations)."""
    tatoeba = read(folder / "tatoeba" / "cmn-eng.jsonl")
    yield "Tatoeba sentences", [line["tgt"] for line in tatoeba], [line["src"] for line in tatoeba]
    english, chinese = (read(folder / "xquad" / f"corpus.{language}.jsonl") for language in ("en", "zh"))
    assert [line["id"] for line in english] == [line["id"] for line in chinese]
    yield "XQuAD paragraphs", [line["text"] for line in english], [line["text"] for line in chinese]


def vectors_of(model: str, name: str, texts: list[str], keep: Path | None) -> np.ndarray:
    kept = keep / Path(model).name / f"{name}.npy" if keep else None
    if kept and kept.is_file():
        return np.asarray(np.load(kept))
    with Embedder(model) as embedder:
        vectors = embedder.encode(texts, truncate=True)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    return vectors


def v_measures(found: Clustering, labels: list[str]) -> dict[str, float]:
    inside = found.cluster >= 0
    return {
        "clusters": len(found.clusters),
        "noise": float(1 - inside.mean()),
        "v_noise_as_cluster": float(v_measure_score(labels, found.cluster)),
        "v_without_noise": float(v_measure_score(np.array(labels)[inside], found.cluster[inside])),
    }


def pairs_together(found: Clustering) -> dict[str, float]:
    """Of a set whose second half is the translations of its first."""
    first, second = np.split(found.cluster, 2)
    both = (first >= 0) & (second >= 0)
    together = (first == second) & both
    return {
        "clusters": len(found.clusters),
        "largest": max((entry.size for entry in found.clusters), default=0),
        "noise": float((found.cluster < 0).mean()),
        "of_all_pairs": float(together.mean()),
        "of_pairs_without_noise": float(together.sum() / max(1, both.sum())),
    }


def shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="starter", help="for Banking77: names or folders that Embedder takes")
    parser.add_argument("--pairs-model", help="for the pairs, a multilingual one [default: the last of --models]")
    parser.add_argument("--keep", type=Path, help="write vectors to this folder, and take those that are there")
    options = parser.parse_args()
    models = options.models.split(",")
    results: dict[str, dict[str, float]] = {}

    for model in models:
        for part in ("test", "train"):
            lines = read(options.data / "banking77" / f"{part}.jsonl")
            texts, labels = [line["text"] for line in lines], [line["label"] for line in lines]
            vectors = vectors_of(model, f"banking77-{part}", texts, options.keep)
            for size, samples in SETTINGS:
                found = cluster(vectors, texts, min_cluster_size=size, min_samples=samples, layout="pca")
                name = f"{Path(model).name} / {part} / {size} / {samples}"
                results[name] = v_measures(found, labels)
    print_rows(["model", "part", "min size", "min samples"], results)
    pairs: dict[str, dict[str, float]] = {}
    model = options.pairs_model or models[-1]
    for name, english, chinese in pair_sets(options.data):
        texts = [*english, *chinese]
        vectors = vectors_of(model, name.partition(" ")[0].lower(), texts, options.keep)
        for across in (True, False):
            for size, samples in PAIR_SETTINGS:
                found = cluster(
                    vectors,
                    texts,
                    min_cluster_size=size,
                    min_samples=samples,
                    across_scripts=across,
                    layout="pca",
                )
                row = f"{name} / {'on' if across else 'off'} / {size} / {samples}"
                pairs[row] = pairs_together(found)
    print()
    print_rows(["set", "across scripts", "min size", "min samples"], pairs)
    about = facts(["farthing", "numpy", "scikit-learn", "fast-hdbscan"])
    print(json.dumps({**about, "benchmark": "cluster_quality", "banking77": results, "pairs": pairs}))


def print_rows(names: list[str], results: dict[str, dict[str, float]]) -> None:
    header = [*names, *(name.replace("_", " ") for name in next(iter(results.values())))]
    print(table(header, [[*name.split(" / "), *map(shown, row.values())] for name, row in results.items()]))


if __name__ == "__main__":
    main()
