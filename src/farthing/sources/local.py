"""Models that the user has in a folder or a GGUF file, and what a model's source is said to be.

In: a path as the user gave it. Out: the folder or file, checked to hold a model. Nothing here needs a hub's library, so
that a model in a folder loads without waiting for one.
"""

from __future__ import annotations

import os
from pathlib import Path

from farthing.checkpoint.gguf.header import is_gguf
from farthing.checkpoint.model_folder import adapter_in, own_folder
from farthing.core.deferred import dataclass
from farthing.core.errors import ModelNotFoundError, SettingsError
from farthing.core.files import user_path
from farthing.core.settings import SourceSettings


@dataclass(frozen=True)
class ModelSource:
    """A model's files on this machine.

    Attributes:
        name: the name as asked for.
        path: folder with config.json and, where the model has them, *.safetensors, tokenizer.json and so on; or a
            GGUF file.
        origin: one phrase for logs.
        revision: commit or tag, where the source has revisions.
    """

    name: str
    path: Path
    origin: str
    revision: str | None


def local_folder(name: str) -> Path | None:
    """The path that the name means, or None when it means none."""
    # os.path and not Path, whose methods raise for some names (too long).
    path = user_path(name).absolute()
    is_path = name.startswith(("/", "./", "../", "~")) or Path(name).is_absolute() or os.path.exists(name)  # noqa: PTH110
    return path if is_path else None


def use_path(name: str, path: Path, settings: SourceSettings) -> ModelSource:
    """The source of a folder or a GGUF file that the user pointed at."""
    file = path if path.is_file() else gguf_in(path)
    if file is None:
        require_model_folder(path)
    elif not is_gguf(file):
        raise ModelNotFoundError(f"{file} is a file. Give a folder with config.json and *.safetensors, or a GGUF file.")
    if settings.revision:
        raise SettingsError(
            f"revision is {settings.revision!r}, but {name} is a local folder or file, which has none. Leave the "
            "revision out.",
            param="revision",
        )
    return ModelSource(name, file or path, f"local file {file}" if file else f"local folder {path}", None)


def require_model_folder(folder: Path) -> None:
    """Raise `ModelNotFoundError` when this is not a folder, or lacks a config.json."""
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder} does not exist. Give a folder with config.json and *.safetensors.")
    if not has_config(folder):
        raise ModelNotFoundError(
            adapter_message(folder)
            or f"The folder {folder} has no config.json, so it holds no model. If you meant a model of that name "
            "on a hub, start from another working directory."
        )


def has_config(folder: Path) -> bool:
    return (own_folder(folder) / "config.json").is_file()


def adapter_message(folder: Path) -> str:
    """Why a folder that holds an adapter and no model is of no use; empty for other folders."""
    adapter = adapter_in(folder)
    if adapter is None:
        return ""
    return (
        f"{folder} holds {adapter}, and no whole model. Merge the two with peft first: "
        "AutoPeftModel.from_pretrained(FOLDER).merge_and_unload().save_pretrained(OUT), with the tokenizer and the "
        "other files of the model beside it, and give OUT."
    )


def gguf_in(folder: Path) -> Path | None:
    """The one *.gguf of a folder without safetensors. Raises `ModelNotFoundError` when there are several."""
    files = sorted(folder.glob("*.gguf"))
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) > 1:
        raise ModelNotFoundError(
            f"The folder {folder} holds several models. Name one: {', '.join(file.name for file in files)}."
        )
    return files[0]
