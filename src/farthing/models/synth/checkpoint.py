"""Synthetic checkpoints: the true shape of a published model with seeded random weights.

In: a shape's name. Out: a Hugging Face style folder that loads like the published model, for measuring a machine before
downloading gigabytes, and for tests. The vectors mean nothing. Tensors are made and written one at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from farthing.checkpoint.stated_dtype import STATED
from farthing.checkpoint.writer import TensorSpec, write_tensors
from farthing.core.arrays import BF16
from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.models.config import SYNTHETIC
from farthing.models.families.qwen3 import DEFAULT_TASK, INSTRUCTION, Qwen3Family
from farthing.models.layout import Layout
from farthing.models.synth.outliers import Outliers
from farthing.models.synth.random_tensor import generator, random_tensor
from farthing.models.synth.tokenizer import tokenizer_json

RESIDUAL_SCALE = 8**-0.5  # the same at every depth, so that leaving layers out does not change the others
EMBEDDING_DEVIATION = 0.1


@dataclass(frozen=True)
class Shape:
    """The numbers of a published Qwen3 config (huggingface.co/Qwen)."""

    hidden: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_positions: int
    reranker: bool = False

    def config(self) -> dict[str, Any]:
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 151643,
            "eos_token_id": 151645 if self.reranker else 151643,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.max_positions,
            "num_attention_heads": self.num_heads,
            "num_hidden_layers": self.num_layers,
            "num_key_value_heads": self.num_kv_heads,
            "rms_norm_eps": 1e-6,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": self.vocab,
        }


EMBEDDERS = {
    "qwen3-tiny": Shape(64, 4, 4, 2, 32, 192, 151669, 32768),
    "qwen3-0.6b": Shape(1024, 28, 16, 8, 128, 3072, 151669, 32768),
    "qwen3-4b": Shape(2560, 36, 32, 8, 128, 9728, 151665, 40960),
    "qwen3-8b": Shape(4096, 36, 32, 8, 128, 12288, 151665, 40960),
}
SHAPES = {
    **EMBEDDERS,
    # The rerankers keep the vocabulary of the base models.
    **{
        name.replace("qwen3-", "qwen3-reranker-"): replace(shape, vocab=151669, max_positions=40960, reranker=True)
        for name, shape in EMBEDDERS.items()
    },
}


def find_shape(name: str) -> Shape:
    """The shape of a name, in any case, with or without "qwen3-". Raises a `SettingsError` that lists the shapes."""
    key = name.lower()
    shape = SHAPES.get(key) or SHAPES.get(f"qwen3-{key}")
    if shape is None:
        raise SettingsError(f"Unknown shape {name!r}; available: {', '.join(SHAPES)}", param="shape")
    return shape


def write_synthetic(
    shape: Shape,
    directory: Path,
    *,
    seed: int = 0,
    outliers: bool = False,
    dtype: np.dtype[Any] = BF16,
    on_tensor: Callable[[TensorSpec], object] | None = None,
) -> None:
    """Write a whole checkpoint; config.json comes last, so that an interrupted one is never taken for a model.

    With `outliers`, a few channels dwarf the others, as in trained models (`farthing.models.synth.outliers`).
    `dtype` is fp32, fp16 or bf16 (`farthing.core.arrays.BF16`).
    """
    write_tensors(directory, list(tensor_specs(shape, seed, outliers, dtype)), on_tensor=on_tensor)
    write_json(directory / "tokenizer.json", tokenizer_json(appends_end=not shape.reranker, vocab=shape.vocab))
    write_json(directory / "tokenizer_config.json", TOKENIZER_CONFIG)
    if not shape.reranker:
        for name, content in embedding_files(shape).items():
            write_json(directory / name, content)
    stored = {"torch_dtype": STATED[dtype]}
    write_json(directory / "config.json", {**shape.config(), **stored, SYNTHETIC: True})


def num_parameters(shape: Shape) -> int:
    return sum(math.prod(size) for _, size in layout_of(shape).tensors())


def layout_of(shape: Shape) -> Layout:
    family = Qwen3Family()
    return family.layout(family.spec(shape.config()))


def tensor_specs(shape: Shape, seed: int, outliers: bool, dtype: np.dtype[Any]) -> Iterator[TensorSpec]:
    layout = layout_of(shape)
    enlarge = Outliers(shape.hidden, shape.num_layers, generator(seed, "outliers")) if outliers else None
    prefix = "model." if shape.reranker else ""  # as published: embedders are saved without the language-model head

    for name, size in layout.tensors():
        mean, deviation = distribution(name, size)
        make = partial(random_tensor, name, size, dtype, seed=seed, mean=mean, deviation=deviation, change=enlarge)
        yield TensorSpec(prefix + name, size, dtype, make)


def distribution(name: str, size: tuple[int, ...]) -> tuple[float, float]:
    """The mean and the deviation of a tensor: norm gains are around 1, and matrices keep the size of their input.

    Matrices that end in the residual stream are smaller. The embeddings are small against what the layers add;
    otherwise the end token that all texts share would outweigh them.
    """
    if len(size) == 1:
        return 1.0, 0.1
    deviation = EMBEDDING_DEVIATION if name == "embed_tokens.weight" else size[1] ** -0.5
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        deviation *= RESIDUAL_SCALE
    return 0.0, deviation


TOKENIZER_CONFIG: Mapping[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": 131072,
    "pad_token": "<|endoftext|>",
    "eos_token": "<|im_end|>",
    "padding_side": "left",
}


def embedding_files(shape: Shape) -> dict[str, object]:
    """The files that sentence-transformers needs, as Qwen3-Embedding publishes them."""
    kind = "sentence_transformers.models."
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    return {
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": kind + name}
            for index, (name, path) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": shape.hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": True,
            "include_prompt": True,
        },
        "config_sentence_transformers.json": {
            "prompts": {"query": INSTRUCTION.format(task=DEFAULT_TASK), "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
