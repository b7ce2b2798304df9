"""Careful reading of config.json values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from farthing.core.errors import CheckpointError


def integer(config: Mapping[str, Any], key: str, default: int | None = None, *, minimum: int = 1) -> int:
    """A whole number of at least `minimum`. Raises `CheckpointError` when it is missing or something else."""
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise CheckpointError(f"config.json: {key} is {value!r}; a whole number of at least {minimum} is needed.")
    return value


def number(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CheckpointError(f"config.json: {key} is {value!r}; a number is needed.")
    return float(value)


def only(config: Mapping[str, Any], key: str, allowed: Sequence[object], default: object) -> None:
    """Refuse a value that would change the arithmetic in a way that is not built."""
    value = config.get(key, default)
    if value not in allowed:
        shown = ", ".join(repr(entry) for entry in allowed)
        raise CheckpointError(f"config.json: {key} is {value!r}; this model family is computed only with {shown}.")


def stored_format(config: Mapping[str, Any]) -> str:
    """Row of `farthing.quant.formats.FORMATS` in which the checkpoint is stored, by its own word."""
    name = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    return {"bfloat16": "bf16", "float16": "fp16"}.get(name, "fp32")


def stored_bytes(config: Mapping[str, Any]) -> int:
    """Bytes of a number in the checkpoint's files, by their own word; 4 when they do not say."""
    return 4 if stored_format(config) == "fp32" else 2


def check_multiple(name: str, value: int, of_name: str, of: int) -> None:
    """Raises `CheckpointError` when `value` cannot be split evenly."""
    if value % of:
        raise CheckpointError(f"config.json: {name} is {value}, not a multiple of {of_name}, which is {of}.")


def activation(config: Mapping[str, Any]) -> str:
    """`hidden_act` in the names of `farthing.models.ops.ACTIVATIONS`."""
    known = {"silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
    name = config.get("hidden_act")
    if not isinstance(name, str) or name not in known:
        raise CheckpointError(f"config.json: hidden_act is {name!r}; available: {', '.join(known)}.")
    return known[name]
