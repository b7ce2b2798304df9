"""What a GGUF file says about its model, in the words of a Hugging Face checkpoint.

In: metadata and tensor names as llama.cpp's converter writes them (convert_hf_to_gguf.py). Out: the config.json, the
pooling files and the tensor names that the same model has as safetensors. An architecture is one row here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError, UnknownArchitectureError

# qwen3.pooling_type as llama.cpp numbers it; a file that has none, or 0, leaves the pooling to the family.
POOLINGS = {1: "mean", 2: "cls", 3: "lasttoken"}
NO_POOLING, RANK_POOLING = 0, 4
ANOTHER_FILE = "Convert the model again with llama.cpp's convert_hf_to_gguf.py, or take another file."
LAYER_NAME = re.compile(r"blk\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class Architecture:
    """
    Attributes:
        config: what config.json says for every model of the architecture.
        numbers: config.json's names by metadata key, without the architecture's name in front.
        stems, layer_stems: tensor names without ".weight", of the model and of a layer.
        end_token: the content of the token that every text of the architecture's embedding models ends with.
    """

    config: Mapping[str, Any]
    numbers: Mapping[str, str]
    stems: Mapping[str, str]
    layer_stems: Mapping[str, str]
    layer_prefix: str
    end_token: str


ARCHITECTURES = {
    "qwen3": Architecture(
        config={"architectures": ["Qwen3Model"], "model_type": "qwen3", "hidden_act": "silu"},
        numbers={
            "embedding_length": "hidden_size",
            "block_count": "num_hidden_layers",
            "attention.head_count": "num_attention_heads",
            "attention.head_count_kv": "num_key_value_heads",
            "attention.key_length": "head_dim",
            "feed_forward_length": "intermediate_size",
            "context_length": "max_position_embeddings",
            "attention.layer_norm_rms_epsilon": "rms_norm_eps",
            "rope.freq_base": "rope_theta",
        },
        stems={"token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head"},
        layer_stems={
            "attn_norm": "input_layernorm",
            "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj",
            "attn_q_norm": "self_attn.q_norm",
            "attn_k_norm": "self_attn.k_norm",
            "attn_output": "self_attn.o_proj",
            "ffn_norm": "post_attention_layernorm",
            "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj",
            "ffn_down": "mlp.down_proj",
        },
        layer_prefix="layers",
        end_token="<|endoftext|>",
    )
}


def architecture_of(metadata: Mapping[str, Any]) -> Architecture:
    """The architecture of a file.

    Raises:
        UnknownArchitectureError: it is not known; the message names the architectures there are.
        CheckpointError: the file holds an adapter, or is one of several that hold the model together.
    """
    if metadata.get("general.type") == "adapter":
        base = str(metadata.get("general.base_model.0.name", "another model"))[:100]
        raise CheckpointError(
            f"The GGUF file holds an adapter of {base}, and no whole model. Merge the two first, with llama.cpp's "
            "llama-export-lora, and give the result."
        )
    name = metadata.get("general.architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnknownArchitectureError(
            f"The GGUF file's architecture is {repr(name)[:100]}; available: {', '.join(ARCHITECTURES)}."
        )
    count = metadata.get("split.count", 1)
    if type(count) is not int:
        raise CheckpointError(f"split.count is {repr(count)[:100]}, which is no whole number. {ANOTHER_FILE}")
    if count > 1:
        raise CheckpointError(
            f"The file is one of {count} that hold the model together. "
            "Merge them: llama-gguf-split --merge FIRST_FILE OUT.gguf."
        )
    return ARCHITECTURES[name]


def config_of(metadata: Mapping[str, Any], vocab: int, dtype: str) -> dict[str, Any]:
    """The config.json of the same model; `vocab` and `dtype` are those of the token embeddings.

    Raises:
        CheckpointError: the metadata lack a number, or ask for something that is not supported.
    """
    prefix, row = metadata["general.architecture"], architecture_of(metadata)
    missing = [key for key in row.numbers if f"{prefix}.{key}" not in metadata]
    if missing:
        raise CheckpointError(f"The metadata lacks {', '.join(f'{prefix}.{key}' for key in missing)}. {ANOTHER_FILE}")
    if metadata.get(f"{prefix}.attention.causal") is False:
        raise CheckpointError(
            f"{prefix}.attention.causal is false; this family is computed with causal attention only."
        )
    if metadata.get(f"{prefix}.attention.value_length") not in (None, metadata[f"{prefix}.attention.key_length"]):
        raise CheckpointError(f"{prefix}.attention: values and keys of different widths are not built.")
    wrong = [key for key in row.numbers if type(metadata[f"{prefix}.{key}"]) not in (int, float)]
    if wrong:
        raise CheckpointError(f"No numbers are {', '.join(f'{prefix}.{key}' for key in wrong)}. {ANOTHER_FILE}")
    scaling = metadata.get(f"{prefix}.rope.scaling.type", "none")
    return {
        **row.config,
        **{name: as_stated(metadata[f"{prefix}.{key}"]) for key, name in row.numbers.items()},
        **({} if scaling == "none" else {"rope_scaling": {"rope_type": scaling}}),
        "vocab_size": vocab,
        "dtype": dtype,
    }


def as_stated(value: Any) -> Any:
    """The number that was written: 1e-06 and not the 32-bit number next to it."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


def pooling_files(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """modules.json and 1_Pooling/config.json by name; empty where the file does not say how it pools."""
    kind = metadata.get(f"{metadata['general.architecture']}.pooling_type", NO_POOLING)
    if kind == NO_POOLING:
        return {}
    if kind not in POOLINGS:
        what = "a reranker's" if kind == RANK_POOLING else "unknown"
        raise CheckpointError(f"pooling_type is {repr(kind)[:100]}, which is {what}. Take an embedding model's file.")
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    return {
        "modules.json": [{"type": f"sentence_transformers.models.{name}", "path": path} for name, path in modules],
        "1_Pooling/config.json": {"pooling_mode": POOLINGS[kind]},
    }


def stored_name(name: str, row: Architecture) -> str:
    """The tensor's name in a safetensors checkpoint; its own name where the architecture lists none for it."""
    layer = LAYER_NAME.fullmatch(name)
    if layer and layer[2] in row.layer_stems:
        return f"{row.layer_prefix}.{layer[1]}.{row.layer_stems[layer[2]]}.{layer[3]}"
    stem = name.removesuffix(".weight")
    return f"{row.stems[stem]}.weight" if stem in row.stems else name
