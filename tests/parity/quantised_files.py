"""Tiny Qwen3 checkpoints as llama.cpp's and MLX's converters write them, with the weights that they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from gguf.tensor_mapping import get_tensor_name_map
from safetensors.torch import save_file

from farthing.models.synth.tokenizer import END, byte_characters

# The rows of K blocks are multiples of 256.
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3Model"],
    "model_type": "qwen3",
    "vocab_size": 260,
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 512,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "hidden_act": "silu",
}
END_ID, OTHER_END_ID, NO_ID = 256, 257, 258
TOKENS = [*byte_characters(), END, "<|im_end|>", "no", "[PAD259]"]
TOKEN_TYPES = [*[1] * 256, 3, 3, 1, 5]
MERGES = ["n o"]
K_TYPES = ("Q4_K", "Q5_K", "Q6_K")


def tensor_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Of a checkpoint with `CONFIG`, by transformers' names."""
    hidden, inner, head = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["head_dim"]
    q, kv = head * CONFIG["num_attention_heads"], head * CONFIG["num_key_value_heads"]
    yield "model.embed_tokens.weight", (CONFIG["vocab_size"], hidden)
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, width in (("q_proj", q), ("k_proj", kv), ("v_proj", kv)):
            yield f"{prefix}self_attn.{name}.weight", (width, hidden)
        yield f"{prefix}self_attn.o_proj.weight", (hidden, q)
        yield f"{prefix}mlp.gate_proj.weight", (inner, hidden)
        yield f"{prefix}mlp.up_proj.weight", (inner, hidden)
        yield f"{prefix}mlp.down_proj.weight", (hidden, inner)
        for name in ("self_attn.q_norm", "self_attn.k_norm"):
            yield f"{prefix}{name}.weight", (head,)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}{name}.weight", (hidden,)
    yield "model.norm.weight", (hidden,)


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: (1 + 0.1 * rng.standard_normal(shape) if len(shape) == 1 else 0.05 * rng.standard_normal(shape)).astype(
            np.float32
        )
        for name, shape in tensor_shapes()
    }


def random_blocks(shape: tuple[int, int], type: GGMLQuantizationType, seed: int) -> np.ndarray:
    """Rows of K blocks [rows, bytes] uint8, whose values are of the size of weights: gguf cannot quantise to them."""
    values, num_bytes = GGML_QUANT_SIZES[type]
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (shape[0], shape[1] // values, num_bytes), dtype=np.uint8)
    scale = np.array([2e-5 if type.name == "Q6_K" else 1e-4], np.float16).view(np.uint8)
    if type.name == "Q6_K":
        blocks[..., -2:] = scale
    else:
        blocks[..., :2] = scale
        blocks[..., 2:4] = np.array([7e-4], np.float16).view(np.uint8)
    return blocks.reshape(shape[0], -1)


@dataclass
class GgufModel:
    """A GGUF file, and the weights that it stands for by transformers' names."""

    path: Path
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def write_gguf(path: Path, type_name: str, metadata: Mapping[str, Any] | None = None, drop: str = "") -> GgufModel:
    """
    Args:
        type_name: of every matrix; vectors are F32, as the converter writes them.
        metadata: what is set otherwise, by key; None leaves the key out.
        drop: a tensor, by GGUF's name, that is left out.
    """
    kind = GGMLQuantizationType[type_name]
    writer = GGUFWriter(path, "qwen3")
    for key, value in {**default_metadata(), **(metadata or {})}.items():
        add(writer, key, value)
    names = get_tensor_name_map(MODEL_ARCH.QWEN3, CONFIG["num_hidden_layers"])
    model = GgufModel(path)
    for seed, (name, weight) in enumerate(random_weights().items()):
        own = kind if weight.ndim == 2 else GGMLQuantizationType.F32
        stored = random_blocks(weight.shape, own, seed) if own.name in K_TYPES else quantize(weight, own)
        model.weights[name] = np.asarray(dequantize(stored, own), np.float32).reshape(weight.shape)
        gguf_name = f"{names.get_name(name.removesuffix('.weight'))}.weight"
        if gguf_name != drop:
            writer.add_tensor(gguf_name, stored, raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def default_metadata() -> dict[str, Any]:
    return {
        "qwen3.embedding_length": CONFIG["hidden_size"],
        "qwen3.block_count": CONFIG["num_hidden_layers"],
        "qwen3.attention.head_count": CONFIG["num_attention_heads"],
        "qwen3.attention.head_count_kv": CONFIG["num_key_value_heads"],
        "qwen3.attention.key_length": CONFIG["head_dim"],
        "qwen3.attention.value_length": CONFIG["head_dim"],
        "qwen3.feed_forward_length": CONFIG["intermediate_size"],
        "qwen3.context_length": CONFIG["max_position_embeddings"],
        "qwen3.attention.layer_norm_rms_epsilon": CONFIG["rms_norm_eps"],
        "qwen3.rope.freq_base": CONFIG["rope_theta"],
        "qwen3.pooling_type": 3,
        **tokenizer_metadata(TOKENS, TOKEN_TYPES, MERGES, END_ID),
    }


def tokenizer_metadata(tokens: list[str], types: list[int], merges: list[str], end_id: int) -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": end_id,
        "tokenizer.ggml.add_eos_token": True,
    }


def add(writer: GGUFWriter, key: str, value: Any) -> None:
    if key == "general.alignment":
        writer.add_custom_alignment(value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif value is not None:
        writer.add_uint32(key, value)


def save_dense(folder: Path, weights: Mapping[str, np.ndarray]) -> Path:
    """The same model as transformers reads it, fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tensors = {name.removeprefix("model."): torch.from_numpy(weight.copy()) for name, weight in weights.items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


def mlx_quantise(weight: np.ndarray, bits: int, group_size: int) -> dict[str, torch.Tensor]:
    """As mlx.core.quantize documents it: of each group, (w - least) / step rounded, packed from the lowest bits up."""
    groups = weight.reshape(len(weight), -1, group_size)
    least, most = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
    step = (most - least) / (2**bits - 1)
    step, least = (torch.from_numpy(array).bfloat16() for array in (step, least))
    levels = np.clip(np.rint((groups - least.float().numpy()) / step.float().numpy()), 0, 2**bits - 1)
    levels = levels.astype(np.uint64).reshape(len(weight), -1, 32 // bits)
    words = (levels << (np.arange(32 // bits, dtype=np.uint64) * np.uint64(bits))).sum(-1).astype(np.uint32)
    return {"weight": torch.from_numpy(words), "scales": step.squeeze(-1), "biases": least.squeeze(-1)}


def mlx_dequantise(parts: Mapping[str, torch.Tensor], bits: int, group_size: int) -> np.ndarray:
    """scale * q + bias, number by number out of the words."""
    words = parts["weight"].numpy()
    levels = np.stack([(words >> np.uint32(shift)) & np.uint32(2**bits - 1) for shift in range(0, 32, bits)], axis=-1)
    groups = levels.reshape(len(words), -1, group_size).astype(np.float32)
    scaled = groups * parts["scales"].float().numpy()[..., None] + parts["biases"].float().numpy()[..., None]
    return np.asarray(scaled.reshape(len(words), -1), np.float32)


def write_mlx(folder: Path, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A folder as mlx_lm.convert writes it; `settings` is config.json's "quantization". Returns what it stands for."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({**CONFIG, "quantization": dict(settings), "quantization_config": dict(settings)})
    )
    tensors: dict[str, torch.Tensor] = {}
    weights: dict[str, np.ndarray] = {}
    for name, weight in random_weights().items():
        stem = name.removesuffix(".weight")
        own = settings.get(stem)
        if weight.ndim == 1 or own is False:
            tensors[name] = torch.from_numpy(weight).bfloat16()
            weights[name] = tensors[name].float().numpy()
            continue
        bits, group_size = (
            {**settings, **(own if isinstance(own, dict) else {})}[key] for key in ("bits", "group_size")
        )
        parts = mlx_quantise(weight, bits, group_size)
        tensors.update({f"{stem}.{part}": tensor for part, tensor in parts.items()})
        weights[name] = mlx_dequantise(parts, bits, group_size)
    save_file(tensors, folder / "model.safetensors")
    return weights
