"""Careful reading of values in config.json and the files beside it, which may come from a stranger."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from farthing.core.errors import CheckpointError

# The data read of a model grow with its layers before any weight is looked at; the largest published models have some
# 130.
MAX_LAYERS = 1000
# The limit of every other whole number: what 32 bits hold. No model is beyond it, only plans that take for ever.
MAX_INTEGER = 2**31 - 1
MAX_EPS = 1.0  # added to a variance; with a larger one every vector is about zero
MAX_NUMBER = 1e15
# By model_type, the architecture of a model that does not name one. Qwen3's also scores pairs.
ENCODERS = {
    "bert": "BertModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
    "camembert": "CamembertModel",
    "electra": "ElectraModel",
    "distilbert": "DistilBertModel",
    "mpnet": "MPNetModel",
    "modernbert": "ModernBertModel",
    "gemma3_text": "Gemma3TextModel",
    "nomic_bert": "NomicBertModel",
    "new": "NewModel",
    "gte": "GteModel",
    "eurobert": "EuroBertModel",
    "llama": "LlamaModel",
    "mistral": "MistralModel",
    "qwen2": "Qwen2Model",
    "qwen3": "Qwen3ForCausalLM",
}
# Kinds of layers, as transformers' `layer_types` names them: those that see all tokens, and those that see a window.
FULL, SLIDING = "full_attention", "sliding_attention"
SYNTHETIC = "farthing_synthetic"  # a key that only `farthing.models.synth` writes
MAX_SHOWN = 200  # characters of a value in a message


def integer(
    config: Mapping[str, Any], key: str, default: int | None = None, *, minimum: int = 1, maximum: int = MAX_INTEGER
) -> int:
    """A whole number from `minimum` to `maximum`. Raises `CheckpointError` when it is missing or something else."""
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise CheckpointError(f"config.json: {key} is {shown(value)}; a whole number of at least {minimum} is needed.")
    if value > maximum:
        raise CheckpointError(f"config.json: {key} is {shown(value)}; at most {maximum:,} can be computed.")
    return value


def non_null(config: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says. transformers takes the default of a setting that is null."""
    return {key: value for key, value in config.items() if value is not None}


def layer_kinds(config: Mapping[str, Any], is_full: Callable[[int], bool]) -> list[str]:
    """FULL or SLIDING for each layer: as `layer_types` lists them, else by `is_full`, which takes a layer's index.

    Raises `CheckpointError` for a list of another length, or with another kind.
    """
    count = integer(config, "num_hidden_layers", maximum=MAX_LAYERS)
    kinds = config.get("layer_types") or [FULL if is_full(index) else SLIDING for index in range(count)]
    if not isinstance(kinds, list) or len(kinds) != count or any(kind not in (FULL, SLIDING) for kind in kinds):
        raise CheckpointError(
            f"config.json: layer_types is {shown(kinds)}; for each of {count} layers {FULL} or {SLIDING} is needed."
        )
    return kinds


def number(config: Mapping[str, Any], key: str, *, maximum: float = MAX_NUMBER) -> float:
    """A number above 0, at most `maximum`. Raises `CheckpointError` when it is missing or something else."""
    value = config.get(key)
    if not is_finite(value) or not 0 < value <= maximum:
        raise CheckpointError(f"config.json: {key} is {shown(value)}; a number above 0 up to {maximum:g} is needed.")
    return float(value)


def eps(config: Mapping[str, Any], key: str) -> float:
    """The number that a norm adds to a variance. Raises `CheckpointError` when it is missing or something else."""
    return number(config, key, maximum=MAX_EPS)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether the value is a number, and neither NaN nor infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


def shown(value: object) -> str:
    """The value as it is written in a message."""
    if isinstance(value, int) and value.bit_length() > MAX_SHOWN:  # Python refuses to write very long ones
        return f"a number of {value.bit_length()} bits"
    return cut(repr(value))


def cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def table(value: object, what: str) -> Mapping[str, Any]:
    """A JSON object, empty where there is none. Raises `CheckpointError` for anything else, with `what` as its name."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CheckpointError(f"{what} is {shown(value)}; a JSON object is needed. Download the model again.")
    return value


def names(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts, empty where there is none. Raises `CheckpointError` for anything else."""
    value = config.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CheckpointError(f"config.json: {key} is {shown(value)}; a list of names is needed.")
    return tuple(value)


def architectures(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the transformers classes that compute the model. Raises `CheckpointError`.

    Where config.json names none, it is the encoder of its model_type, which says nothing about a head.
    """
    stated = names(config, "architectures")
    if stated:
        return stated
    kind = config.get("model_type")
    return (ENCODERS[kind],) if isinstance(kind, str) and kind in ENCODERS else ()


def assumed_note(config: Mapping[str, Any]) -> str:
    """A sentence for errors about a model whose architecture was not stated; empty for other models."""
    found = architectures(config)
    if names(config, "architectures") or not found:
        return ""
    return (
        f" config.json names no architectures, so it is read as {found[0]}, by its model_type; if it is another, write "
        'it there ("architectures": ["BertForSequenceClassification"]).'
    )


def only(config: Mapping[str, Any], key: str, allowed: Sequence[object], default: object) -> None:
    """Refuse a value that would change the arithmetic in a way that is not supported."""
    value = config.get(key, default)
    if value not in allowed:
        choices = ", ".join(repr(entry) for entry in allowed)
        raise CheckpointError(
            f"config.json: {key} is {shown(value)}; this model family is computed only with {choices}."
        )


def stored_format(config: Mapping[str, Any]) -> str:
    """The row of `farthing.quant.formats.FORMATS` in which the checkpoint is stored, according to its config.json."""
    name = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    return {"bfloat16": "bf16", "float16": "fp16"}.get(name, "fp32")


def is_synthetic(config: Mapping[str, Any]) -> bool:
    """Whether the weights are random numbers that `farthing.models.synth` wrote, whose vectors mean nothing."""
    return config.get(SYNTHETIC) is True


def stored_bytes(config: Mapping[str, Any]) -> int:
    """The bytes of a number in the checkpoint's files, according to config.json; 4 when it does not say."""
    return 4 if stored_format(config) == "fp32" else 2


def check_multiple(name: str, value: int, of_name: str, of: int) -> None:
    """Raise `CheckpointError` when `value` cannot be split evenly."""
    if value % of:
        raise CheckpointError(f"config.json: {name} is {value}, not a multiple of {of_name}, which is {of}.")


def activation(config: Mapping[str, Any], key: str = "hidden_act") -> str:
    """The activation that config.json names, as `farthing.models.torch_pass.ops.ACTIVATIONS` names it."""
    known = {"silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
    name = config.get(key)
    if not isinstance(name, str) or name not in known:
        raise CheckpointError(f"config.json: {key} is {shown(name)}; available: {', '.join(known)}.")
    return known[name]
