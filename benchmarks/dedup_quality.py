"""What a threshold means: which rewordings it finds, and how often what it finds means the same.

    python benchmarks/dedup_quality.py --data DIR --model MODEL [--sets banking77,clinc150] [--originals 1000]
                                       [--format int8]

DIR holds one folder a set with train.jsonl and test.jsonl, records of `text` and `label` (an intent).

Planted duplicates: --originals texts drawn from the train parts, each reworded in several ways; for each way the share
whose distance to its original is within a threshold, exact duplicates included (recall).

Real ones: the share of test texts that are within it of a train text, and how many of these have the label of the
nearest one. Texts of one intent need not say the same, but texts of two intents hardly do: the share of other labels is
about a lower bound of what is dropped wrongly.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from farthing import Embedder
from farthing.toolkit.dedup.find import find_repeats
from farthing.toolkit.spelling import plain_form
from report import facts, json_line, table

THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)


def left_out(text: str, rng: random.Random) -> str:
    words = text.split()
    words.pop(rng.randrange(len(words)))
    return " ".join(words)


def swapped(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text) - 1)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def exchanged(text: str, rng: random.Random, words: list[str]) -> str:
    parts = text.split()
    parts[rng.randrange(len(parts))] = rng.choice(words)
    return " ".join(parts)


def rewordings(words: list[str]) -> dict[str, Callable[[str, random.Random], str]]:
    return {
        "upper case": lambda text, _: text.upper(),
        "no punctuation": lambda text, _: text.translate(str.maketrans("", "", string.punctuation)),
        "!! at the end": lambda text, _: text.rstrip(string.punctuation) + "!!",
        "two letters swapped": swapped,
        "a word left out": left_out,
        "a word exchanged for any other": lambda text, rng: exchanged(text, rng, words),
        "please before it": lambda text, _: "please " + text,
    }


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def planted(embedder: Embedder, originals: list[str]) -> dict[str, list[float]]:
    """For each way of rewording, the share within each threshold."""
    rng = random.Random(0)
    words = sorted({word for text in originals for word in text.split()})
    vectors, shares = embedder.encode(originals), {}
    for name, reword in rewordings(words).items():
        texts = [reword(text, rng) for text in originals]
        distances = np.linalg.norm(embedder.encode(texts) - vectors, axis=1)
        same = [plain_form(text) == plain_form(original) for text, original in zip(texts, originals, strict=True)]
        distances[same] = 0
        shares[name] = [float((distances <= threshold).mean()) for threshold in THRESHOLDS]
    return shares


def real(embedder: Embedder, test: list[dict[str, str]], train: list[dict[str, str]]) -> dict[str, list[float]]:
    texts, others = ([record["text"] for record in part] for part in (test, train))
    found = find_repeats(texts, embedder.encode(texts), others, embedder.encode(others), threshold=max(THRESHOLDS))
    same = np.array([test[i]["label"] == train[n]["label"] for i, n in enumerate(found.nearest)])
    within = [found.distances <= threshold for threshold in THRESHOLDS]
    return {
        "within it": [float(near.mean()) for near in within],
        "of these with its label": [float(same[near].mean()) if near.any() else float("nan") for near in within],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sets", default="banking77,clinc150")
    parser.add_argument("--originals", type=int, default=1000)
    parser.add_argument("--format", default="int8")
    args = parser.parse_args()
    parts = {
        name: [read(args.data / name / f"{part}.jsonl") for part in ("test", "train")] for name in args.sets.split(",")
    }
    pool = sorted(
        {record["text"] for _, train in parts.values() for record in train if len(record["text"].split()) > 2}
    )
    originals = random.Random(1).sample(pool, args.originals)
    started = time.perf_counter()
    with Embedder(args.model, format=args.format) as embedder:
        shares = {"planted": planted(embedder, originals)}
        for name, (test, train) in parts.items():
            shares[name] = real(embedder, test, train)
    rows = [
        (name, what, *(f"{value:.1%}" for value in values))
        for name, by in shares.items()
        for what, values in by.items()
    ]
    print(table(("set", "share", *map(str, THRESHOLDS)), rows))
    seconds = {"all": [time.perf_counter() - started]}
    more = {"benchmark": "dedup_quality", "thresholds": THRESHOLDS, "shares": shares}
    print(json_line(facts(["numpy", "farthing"]), seconds, **more))


if __name__ == "__main__":
    main()
