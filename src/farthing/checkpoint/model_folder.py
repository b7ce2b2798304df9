"""Where a model's own files lie in a folder: config.json, weights and tokenizer.

In: a folder as it was named. Out: the folder itself, or the one below it that modules.json names, as early versions of
sentence-transformers wrote them (`0_Transformer`). The files that say how vectors are made (modules.json, N_Pooling)
are always in the folder that was named.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from farthing.checkpoint.json_file import read_json

MODULES = "modules.json"
ADAPTER = "adapter_config.json"
MAX_SHOWN = 200  # characters of a name in a message


def own_folder(path: Path) -> Path:
    """The folder with config.json and weights of the model that `path` names; a file stands for itself.

    Raises:
        CheckpointError: modules.json cannot be read.
    """
    if not path.is_dir():
        return path
    modules = read_json(path / MODULES)
    for module in modules if isinstance(modules, list) else ():
        folder = path / transformer_name(module)
        if (folder / "config.json").is_file():
            return folder
    return path


def transformer_name(module: Any) -> str:
    """The name of the folder below that an entry of modules.json gives its transformer; "" for all other entries."""
    if not isinstance(module, dict) or str(module.get("type")).rsplit(".", 1)[-1] != "Transformer":
        return ""
    name = module.get("path")
    # Only a plain name is taken: a path could lead out of the folder.
    is_plain = isinstance(name, str) and name == PurePath(name).name and name != ".." and "\0" not in name
    return str(name) if is_plain else ""


def adapter_in(path: Path) -> str | None:
    """The adapter that a folder holds, in words ("a LORA adapter of Qwen/Qwen3-Embedding-0.6B"); None without one.

    Raises:
        CheckpointError: adapter_config.json cannot be read.
    """
    config = read_json(path / ADAPTER) if path.is_dir() else None
    if not isinstance(config, dict):
        return None
    kind = next((str(config[key]) for key in ("peft_type", "fine_tune_type") if config.get(key)), "")
    base = next((str(config[key]) for key in ("base_model_name_or_path", "model") if config.get(key)), "another model")
    return f"{f'a {kind}' if kind else 'an'} adapter of {base}"[:MAX_SHOWN]
