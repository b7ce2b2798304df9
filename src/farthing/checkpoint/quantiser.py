"""Names the tool that quantised the weights of a folder that cannot be read for that reason.

In: config.json and the names of tensors. Out: a name for a message. Whether the folder can be read is not decided here:
some folders say that they are quantised and hold plain weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MLX = "quantization"  # the key that only MLX writes
SETTINGS = ("quantization_config", "compression_config")
MAX_SHOWN = 60  # characters of a name that a stranger wrote
REMEDY = "Take the model in full precision (--format int8 or nf4 quantises it here), or as GGUF, or quantised by MLX."
# By the end of a tensor's name, for folders whose config.json says nothing. The first entry that fits counts.
TENSORS = {
    ".weight_packed": "compressed-tensors",
    ".weight_shape": "compressed-tensors",
    ".g_idx": "GPTQ",
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
    ".weight_scale_inv": "FP8",
    ".weight_scale": "FP8 or compressed-tensors",
    ".input_scale": "FP8 or compressed-tensors",
    ".absmax": "bitsandbytes",
    ".quant_map": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".W_q": "HQQ",
}


def is_mlx(config: Mapping[str, Any]) -> bool:
    """Whether these are the settings of a folder that MLX quantised, which `farthing.checkpoint.mlx` reads."""
    return isinstance(config.get(MLX), dict)


def quantised_by(config: Mapping[str, Any], names: Iterable[str] = ()) -> str | None:
    """The name of the method; None where nothing points to one. MLX's folders are read, so None stands for them too."""
    if is_mlx(config):
        return None
    for key in SETTINGS:
        settings = config.get(key)
        if isinstance(settings, dict):
            method = settings.get("quant_method") or ("bitsandbytes" if says_bits(settings) else key)
            return str(method)[:MAX_SHOWN]
    held = list(names)
    return next((tool for end, tool in TENSORS.items() if any(name.endswith(end) for name in held)), None)


def says_bits(settings: Mapping[str, Any]) -> bool:
    """Whether these are settings of bitsandbytes, whose early versions do not give their name."""
    return bool(settings.get("load_in_4bit") or settings.get("load_in_8bit"))
