"""Our packed fp32 forward against transformers' padded one, on the shape of Qwen3-Embedding-0.6B.

    python benchmarks/engine_vs_transformers.py [--rounds 5] [--layers 28] [--model DIR]

All compute the same token ids with the same threads, in fp32 (and ours in int8 too), in turn (A B C A B C ...), so that
a machine whose speed drifts slows all alike; medians count. Each round has ids of its own, and ours must compute all of
them. transformers runs as its documentation shows, batches of 8 with left padding in order of arrival, and in its best
setting: sorted by length, padded on the right, without a mask, in the dtype (fp32, bf16) and the number of texts a
batch (1 to 16) that are fastest in rounds of their own before; sentence-transformers sorts and batches likewise. Every
engine's vectors are compared with our fp32 ones.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import AutoModel

from farthing.cli.bench.checks import Meter, require_all_computed
from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from peers.task import padded
from report import beside, facts, fastest, json_line, table

END = 151643
NUM_THREADS = torch.get_num_threads()
BATCH, BATCHES = 8, (1, 4, 8, 16)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Texts = Sequence[Sequence[int]]
Embed = Callable[[Texts], np.ndarray]


def workloads(rng: np.random.Generator) -> dict[str, Callable[[], Texts]]:
    """Each makes texts of the same lengths in the same order, every time others."""

    def texts(lengths: Sequence[int]) -> Texts:
        return [[*rng.integers(0, 150_000, size=length - 1).tolist(), END] for length in lengths]

    mixed = [int(length) for length in np.linspace(16, 512, 16)[rng.permutation(16)]]
    return {
        "8x128": partial(texts, [128] * 8),
        "16 texts of 16..512": partial(texts, mixed),
        "1x128": partial(texts, [128]),
    }


def farthing(path: Path, weight_format: str) -> Embed:
    runner = Runner(load_model(path, EngineSettings(format=weight_format)))

    def embed(texts: Texts) -> np.ndarray:
        output = runner.run([list(text) for text in texts])
        require_all_computed(sum(output.computed), sum(map(len, texts)), f"farthing {weight_format}")
        return output.rows

    return embed


def transformers_sorted(path: Path) -> dict[str, Embed]:
    """By dtype and texts a batch."""
    models = {name: AutoModel.from_pretrained(path, dtype=dtype).eval() for name, dtype in DTYPES.items()}

    @torch.inference_mode()
    def embed(name: str, batch: int, texts: Texts) -> np.ndarray:
        torch.set_num_threads(NUM_THREADS)  # Farthing leaves another number behind
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        model = models[name]
        rows = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(texts), batch):
            picked = order[start : start + batch]
            ids, lengths = padded([texts[index] for index in picked])
            hidden = model(torch.from_numpy(ids), use_cache=False).last_hidden_state
            rows[picked] = hidden[torch.arange(len(picked)), torch.from_numpy(lengths - 1)].float().numpy()
        return rows

    return {f"{name}, {batch} a batch": partial(embed, name, batch) for name in DTYPES for batch in BATCHES}


def seconds_of(embed: Embed, texts: Texts) -> float:
    started = time.perf_counter()
    embed(texts)
    return time.perf_counter() - started


def seconds_of_way(ways: Mapping[str, Embed], texts: Texts, way: str) -> float:
    return seconds_of(ways[way], texts)


def transformers(path: Path) -> Embed:
    """As its documentation shows."""
    model = AutoModel.from_pretrained(path, dtype=torch.float32)

    @torch.inference_mode()
    def embed(texts: Texts) -> np.ndarray:
        torch.set_num_threads(NUM_THREADS)
        rows = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            picked = list(range(start, min(start + BATCH, len(texts))))
            width = max(len(texts[index]) for index in picked)
            ids = torch.full((len(picked), width), END)
            mask = torch.zeros_like(ids)
            for row, index in enumerate(picked):
                ids[row, width - len(texts[index]) :] = torch.tensor(texts[index])
                mask[row, width - len(texts[index]) :] = 1
            rows[picked] = model(ids, attention_mask=mask).last_hidden_state[:, -1].numpy()
        return rows

    return embed


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def measure(
    engines: dict[str, Embed], fresh: Callable[[], Texts], rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every run by engine, and the least cosine of its vectors to our fp32 ones."""
    texts = fresh()
    vectors = {name: embed(texts) for name, embed in engines.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        texts = fresh()
        for name, embed in engines.items():
            seconds[name].append(seconds_of(embed, texts))
    return seconds, {name: cosine(vectors["farthing"], other) for name, other in vectors.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--model", type=Path, help="a checkpoint to use instead of a synthetic one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.model or Path(scratch) / "model"
        if arguments.model is None:
            write_synthetic(replace(find_shape("qwen3-0.6b"), num_layers=arguments.layers), path)
        engines = {
            "farthing": farthing(path, "fp32"),
            "farthing int8": farthing(path, "int8"),
            "transformers": transformers(path),
        }
        in_order = transformers_sorted(path)
        about = facts(["numpy", "transformers", "farthing"])
        lines, all_seconds, meter = [], {}, Meter.now()
        for workload, fresh in workloads(np.random.default_rng(1)).items():
            best = fastest(in_order, [partial(seconds_of_way, in_order, fresh())] * 2)
            contenders = {**engines, f"transformers, best: {best}": in_order[best]}
            seconds, cosines = measure(contenders, fresh, arguments.rounds)
            num_tokens = sum(map(len, fresh()))
            ours = median(seconds["farthing"])
            for name, runs in seconds.items():
                rate, ratio = num_tokens / median(runs), median(runs) / ours
                lines.append(
                    [workload, name, f"{median(runs):.3f}", f"{rate:.0f}", f"{ratio:.2f}", f"{cosines[name]:.6f}"]
                )
                all_seconds[f"{workload} / {name}"] = runs
    print(table(["workload", "engine", "median s", "tokens/s", "times ours", "least cosine"], lines))
    print(json_line(about, all_seconds, benchmark="engine_vs_transformers", layers=arguments.layers, **beside(meter)))


if __name__ == "__main__":
    main()
