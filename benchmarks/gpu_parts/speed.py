"""Sections "speed", "peers" and "streaming": tokens per second, and what share of the card's products that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from farthing.cli.bench.checks import require_all_computed, share_of_peak
from farthing.cli.bench.workloads import make_texts
from farthing.engine.runner import Runner
from farthing.engine.weights.load import LoadedModel
from farthing.models.spec import ModelSpec
from farthing.quant.formats import FORMATS
from gpu_parts.memory import peak_figures
from gpu_parts.products import matmul_peak
from gpu_parts.setting import Case, Figures, Setting, load, median_seconds

Texts = Sequence[list[int]]
PEER_BATCH = 32
# Formats that are read from disk as the checkpoint stores them; the others need a folder that farthing quantize wrote.
FROM_DISK = ("bf16",)


def speed(setting: Setting) -> Iterator[Case]:
    """Every format x residency of the 0.6B, and every format of the 4B."""
    for name in FORMATS:
        for residency in ("resident", "host", *(["disk"] if name in FROM_DISK else [])):
            yield Case(f"0.6b {name} {residency}", partial(rates, setting, "0.6b", name, residency))
    for name in ("bf16", "int8", "fp8", "nf4"):
        yield Case(f"4b {name} resident", partial(rates, setting, "4b", name, "resident"))


def rates(setting: Setting, model: str, name: str, residency: str) -> Figures:
    loaded = load(
        setting,
        model,
        format=name,
        residency=residency,
        context_length=setting.context_length,
        max_batch_tokens=setting.max_batch_tokens,
    )
    runner = Runner(loaded)
    runner.run(texts_of(loaded.spec, (setting.context_length,)))
    return {**embed_rates(setting, loaded.spec, partial(embed, runner)), **peak_figures(setting, loaded)}


def embed(runner: Runner, texts: Texts) -> None:
    output = runner.run(texts)
    assert not output.errors
    require_all_computed(sum(output.computed), sum(map(len, texts)), "a batch")


def embed_rates(setting: Setting, spec: ModelSpec, run: Callable[[Texts], object]) -> Figures:
    """Tokens per second of each workload, and the share of the bf16 peak."""
    figures: Figures = {}
    peak = matmul_peak(setting)
    for name, lengths in setting.workloads.items():
        seconds = median_seconds(setting, run, partial(texts_of, spec, lengths))
        figures[f"{name} tokens/s"] = sum(lengths) / seconds
        reached = operations(spec, lengths) / seconds
        # On a CPU with tiny shapes neither figure means anything.
        figures[f"{name} share"] = share_of_peak(reached, peak, name) if setting.on_card else reached / peak
    return figures


def operations(spec: ModelSpec, lengths: Sequence[int]) -> float:
    """Of the matrix products and of attention; causal attention is half of the square."""
    a_token = spec.hidden * (2 * spec.q_width + 2 * spec.kv_width + 3 * spec.intermediate)
    attention = sum(length**2 for length in lengths) * spec.q_width
    return 2.0 * spec.num_layers * (sum(lengths) * a_token + attention)


def texts_of(spec: ModelSpec, lengths: Sequence[int], number: int = 0) -> Texts:
    """Others for each number, of a round."""
    return make_texts(lengths, vocab=spec.vocab, max_tokens=max(lengths), number=number)


def peers(setting: Setting) -> Iterator[Case]:
    yield Case("0.6b sentence-transformers bf16", partial(sentence_transformers, setting, "0.6b"))
    yield Case("4b sentence-transformers bf16", partial(sentence_transformers, setting, "4b"))


def sentence_transformers(setting: Setting, model: str) -> Figures:
    """Its model on token ids: batches of 32, the longest first, as its `encode` makes them."""
    from sentence_transformers import SentenceTransformer

    spec = load(setting, model).spec
    encoder = SentenceTransformer(
        str(setting.models[model]), device=setting.device, model_kwargs={"dtype": torch.bfloat16}
    )

    @torch.inference_mode()
    def run(texts: Texts) -> None:
        ordered = sorted(texts, key=len, reverse=True)
        for start in range(0, len(ordered), PEER_BATCH):
            batch = ordered[start : start + PEER_BATCH]
            ids = torch.zeros(len(batch), len(batch[0]), dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, text in enumerate(batch):  # padded on the left, as the tokenizer's settings say
                ids[row, -len(text) :], mask[row, -len(text) :] = torch.tensor(text), 1
            features = {"input_ids": ids.to(setting.device), "attention_mask": mask.to(setting.device)}
            encoder(features)["sentence_embedding"].float().cpu()

    return embed_rates(setting, spec, run)


def streaming(setting: Setting) -> Iterator[Case]:
    for residency, memory in (("resident", "auto"), ("host", "2GB"), ("disk", "2GB")):
        yield Case(f"4b bf16 {residency}, {memory}", partial(bulk, setting, residency, memory))


def bulk(setting: Setting, residency: str, memory: str) -> Figures:
    loaded = load(
        setting,
        "4b",
        format="bf16",
        residency=residency,
        memory=memory,
        context_length=min(setting.workloads["8x512"]),
        max_batch_tokens=setting.bulk_tokens,
    )
    length = setting.workloads["8x512"][0]
    lengths = (length,) * (setting.bulk_tokens // length)
    seconds = median_seconds(setting, partial(embed, Runner(loaded)), partial(texts_of, loaded.spec, lengths))
    return {"tokens/s": sum(lengths) / seconds, **peak_figures(setting, loaded)}


def closeness(setting: Setting) -> Iterator[Case]:
    """Cosine of each format's vectors to fp32's, both on the card."""
    exact: list[np.ndarray] = []
    for name in FORMATS:
        yield Case(f"0.6b {name}", partial(cosines, setting, name, exact))


def cosines(setting: Setting, name: str, exact: list[np.ndarray]) -> Figures:
    loaded: LoadedModel = load(setting, "0.6b", format=name, context_length=setting.context_length)
    rows = Runner(loaded).run(texts_of(loaded.spec, setting.workloads["mixed"])).rows
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    exact.append(rows)  # fp32 comes first
    found = (exact[0] * rows).sum(1)
    return {"mean cosine": float(found.mean()), "least cosine": float(found.min())}
