"""How a model will be run: every "auto" resolved, with the reason. Pure arithmetic, nothing is loaded.

In: settings, device facts, the model's spec. Out: a frozen `Plan` that the loader and the runner follow to the letter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings
from farthing.engine.device import DeviceFacts
from farthing.models.layout import Layout
from farthing.models.spec import ModelSpec
from farthing.quant.format import WeightFormat
from farthing.quant.formats import FORMATS, weight_format

# A CPU is saturated by about a thousand tokens; more only makes others wait. A GPU wants many more.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 4096, 16384
# Rows of the feed-forward part at a time: bounds scratch without starving the matrix products.
CPU_CHUNK_TOKENS, GPU_CHUNK_TOKENS = 1024, 8192
COMPUTE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        format: how matrices are stored.
        dtype: of the rows that go into matrix products and attention.
        residual_dtype: of the residual stream; fp32 where dtype is fp16, which overflows in it
            (https://github.com/QwenLM/Qwen3-Embedding/issues/164).
        context_length: most tokens of one text.
        max_batch_tokens: token budget of a batch; a longer text runs alone.
        weight_bytes: everything but the token embeddings, as held on the device.
        table_bytes: token embeddings, mapped from the file.
        activation_bytes: upper estimate for a batch of the token budget or one text of the context length.
        reasons: one sentence for each choice that was not the user's.
    """

    device: str
    format: WeightFormat
    dtype: torch.dtype
    residual_dtype: torch.dtype
    context_length: int
    max_batch_tokens: int
    chunk_tokens: int
    num_threads: int
    flash_attention: bool
    weight_bytes: int
    table_bytes: int
    activation_bytes: int
    reasons: tuple[str, ...]


def make_plan(settings: EngineSettings, facts: DeviceFacts, spec: ModelSpec, layout: Layout, max_tokens: int) -> Plan:
    """Raises `SettingsError` when a setting asks for what the model or the device cannot do."""
    name, reason = choose_format(settings, facts)
    dtype = compute_dtype(name, facts)
    context_length, context_reason = choose_context(settings.context_length, spec, max_tokens)
    budget = settings.max_batch_tokens or (CPU_BATCH_TOKENS if facts.is_cpu else GPU_BATCH_TOKENS)
    chunk_tokens = CPU_CHUNK_TOKENS if facts.is_cpu else GPU_CHUNK_TOKENS
    stored = weight_format(name)
    return Plan(
        device=facts.device,
        format=stored,
        dtype=dtype,
        residual_dtype=torch.float32 if dtype is torch.float16 else dtype,
        context_length=context_length,
        max_batch_tokens=budget,
        chunk_tokens=chunk_tokens,
        num_threads=settings.num_threads or facts.num_threads,
        flash_attention=facts.flash_attention and dtype is not torch.float32,
        weight_bytes=weight_bytes(layout, stored, dtype),
        table_bytes=spec.vocab * spec.hidden * spec.stored_bytes,
        activation_bytes=activation_bytes(spec, dtype, max(budget, context_length), chunk_tokens),
        reasons=tuple(filter(None, (reason, context_reason))),
    )


def choose_format(settings: EngineSettings, facts: DeviceFacts) -> tuple[str, str | None]:
    if settings.format == "int8" and not facts.is_cpu:
        raise SettingsError(
            f"format int8 is built for CPUs so far; the device is {facts.device}. Take nf4, fp8, bf16, fp16 or fp32, "
            "or device cpu.",
            param="format",
        )
    if settings.format not in ("auto", "none"):
        return settings.format, None
    return fastest_format(facts)


def fastest_format(facts: DeviceFacts) -> tuple[str, str]:
    """Of those without loss, and why."""
    if facts.is_cpu and not facts.fast_bf16:
        return "fp32", "fp32, because bf16 products are slower than fp32 ones on a CPU without AMX"
    if facts.fast_bf16:
        return "bf16", f"bf16, because {facts.name} computes it fastest"
    return "fp16", f"fp16 with an fp32 residual stream, because {facts.name} has no fast bf16"


def compute_dtype(format_name: str, facts: DeviceFacts) -> torch.dtype:
    """Half-precision formats compute in their own dtype where that is fast, in fp32 where it is not.

    Quantised ones compute as the device does it fastest, but for fp32 around products in int8.
    """
    if facts.is_cpu and FORMATS[format_name].multiplies_int8:
        return torch.float32
    if format_name not in COMPUTE_DTYPES:
        format_name, _ = fastest_format(facts)
    if format_name == "bf16" and not facts.fast_bf16:
        return torch.float32
    if format_name == "fp16" and facts.is_cpu:
        return torch.float32
    return COMPUTE_DTYPES[format_name]


def choose_context(asked: int | None, spec: ModelSpec, max_tokens: int) -> tuple[int, str | None]:
    if asked is None:
        return max_tokens, None
    if asked > spec.max_positions:
        raise SettingsError(
            f"context_length is {asked}; this model's positions reach {spec.max_positions}", param="context_length"
        )
    if asked > max_tokens:
        return asked, f"context of {asked} tokens as asked, beyond the {max_tokens} that the model's files recommend"
    return asked, None


def weight_bytes(layout: Layout, stored: WeightFormat, dtype: torch.dtype) -> int:
    """Matrices in their format, their biases in `dtype`, vectors in fp32."""
    matrices = sum(stored.num_bytes(sum(part.out_features), part.in_features) for part in layout.matrices)
    biases = sum(dtype.itemsize * sum(part.out_features) for part in layout.matrices if part.bias)
    vectors, shared = (
        sum(torch.float32.itemsize * math.prod(part.shape) for part in parts)
        for parts in (layout.vectors, layout.shared)
    )
    return layout.num_layers * (matrices + biases + vectors) + shared


def activation_bytes(spec: ModelSpec, dtype: torch.dtype, num_tokens: int, chunk_tokens: int) -> int:
    """Residual stream and its normed copy, q/k/v, attention output, and one chunk of the feed-forward part."""
    wide = 2 * spec.hidden + 2 * (spec.q_width + 2 * spec.kv_width) + spec.q_width
    chunk = min(num_tokens, chunk_tokens) * 4 * spec.intermediate
    return (num_tokens * wide + chunk) * max(dtype.itemsize, 4)


def summary(plan: Plan) -> Mapping[str, str]:
    """The plan in words, for start-up output."""
    return {
        "device": plan.device,
        "format": f"{plan.format.name}, computed in {str(plan.dtype).removeprefix('torch.')}",
        **({"reason": "; ".join(plan.reasons)} if plan.reasons else {}),
        "context": f"{plan.context_length:,} tokens",
        "batch": f"up to {plan.max_batch_tokens:,} tokens",
        "memory": f"weights {mebibytes(plan.weight_bytes)}, token table {mebibytes(plan.table_bytes)} (mapped from "
        f"the file), activations up to {mebibytes(plan.activation_bytes)}",
    }


def mebibytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"
