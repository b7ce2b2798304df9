"""Models on the Hugging Face hub, or on a mirror of it.

In: a model id and the source settings. Out: a snapshot folder in the hub library's own cache layout, named after its
commit. HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE work as the library documents them. Only safetensors and text
files are fetched: never pickles, never code. The caller decides which other source to try when this one fails. Most of
the library is imported only when something is fetched or found, since that takes as long as loading a small model.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import constants

from farthing.core.errors import CheckpointError, ModelNotFoundError
from farthing.core.files import cache_folder
from farthing.core.settings import SourceSettings

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.utils.tqdm import tqdm

WANTED = ["*.safetensors", "*.json", "*.txt", "*.model"]
# Folders whose json files match too, but belong to weights that are not fetched.
UNWANTED = ["onnx/*", "openvino/*"]
# Files that say what a model is and how its vectors are made.
CONFIGURATION = [
    "config.json",
    "modules.json",
    "*_Pooling/config.json",
    "sentence_*_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "adapter_config.json",
    "*_Transformer/*config.json",
]
NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
OLD_FOLDER = "0_Transformer/"  # where early versions of sentence-transformers put the weights
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def endpoint() -> str:
    """The address of the hub that is asked."""
    return constants.ENDPOINT


def hub_cache_folder(settings: SourceSettings) -> Path:
    """The folder where snapshots are kept. Raises `SettingsError` where it is in a home folder, and there is none."""
    return cache_folder(settings.cache_dir, constants.HF_HUB_CACHE, "HOME or HF_HOME")


def check_id(repo_id: str) -> None:
    """Raise `ModelNotFoundError` for a name that cannot be the id of a model."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ModelNotFoundError(
            f"{repo_id!r} is neither a folder nor a model id. Ids look like Qwen/Qwen3-Embedding-0.6B, paths start "
            "with ./ or /, and the small model to begin with is called starter."
        ) from error


def cached_snapshot(repo_id: str, settings: SourceSettings) -> Path:
    """The whole snapshot that was downloaded earlier, without asking the hub. Raises `ModelNotFoundError` without one.

    A snapshot that another tool fetched in part is noticed only if its list of files was kept.
    """
    at = f" at revision {settings.revision}" if settings.revision else ""
    missing = f"no complete copy of {repo_id}{at}"
    if not (hub_cache_folder(settings) / "--".join(("models", *repo_id.split("/")))).is_dir():
        raise ModelNotFoundError(missing)  # found out without the library, since most machines have no such folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id,
            revision=settings.revision,
            cache_dir=hub_cache_folder(settings),
            allow_patterns=WANTED,
            ignore_patterns=UNWANTED,
            local_files_only=True,
        )
    except LocalEntryNotFoundError as error:
        raise ModelNotFoundError(missing) from error
    return Path(folder)


def download_snapshot(
    repo_id: str, settings: SourceSettings, *, answer_within_s: float, show_progress: bool = True
) -> Path:
    """The snapshot of `settings.revision` (default: the main branch); files that are here are not fetched again.

    Raises:
        ModelNotFoundError: the hub gave no answer within `answer_within_s` seconds, lacks or refuses the model or the
            revision, or the download broke off. The message is one line.
        CheckpointError: the model has no safetensors.
    """
    from huggingface_hub import snapshot_download

    with reasons(repo_id, settings.revision):
        info = ask(repo_id, settings.revision, answer_within_s)
        check_offer(repo_id, [file.rfilename for file in info.siblings or ()])
        folder = snapshot_download(
            repo_id,
            revision=settings.revision,
            cache_dir=hub_cache_folder(settings),
            allow_patterns=WANTED,
            ignore_patterns=UNWANTED,
            tqdm_class=None if show_progress else silent_bar(),
        )
    return Path(folder)


def download_configuration(repo_id: str, settings: SourceSettings, folder: Path, *, answer_within_s: float) -> None:
    """Put the files that say what the model is, some kilobytes, into `folder` and not into the library's cache.

    Raises:
        ModelNotFoundError: as `download_snapshot`.
    """
    from huggingface_hub import snapshot_download

    with reasons(repo_id, settings.revision):
        ask(repo_id, settings.revision, answer_within_s)
        snapshot_download(
            repo_id,
            revision=settings.revision,
            local_dir=folder,
            allow_patterns=CONFIGURATION,
            tqdm_class=silent_bar(),
        )


def silent_bar() -> type[tqdm]:
    """The library's progress bar, never shown."""
    from huggingface_hub.utils.tqdm import tqdm

    class SilentBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

    return SilentBar


def ask(repo_id: str, revision: str | None, within_s: float) -> ModelInfo:
    """What the hub says of the model. Raises `ModelNotFoundError` after `within_s` seconds.

    The library's own timeout does not bound the look-up of the host's name, and counts anew for each of its addresses,
    so that a network which drops packets would hold the caller for minutes. The thread is left behind then; it is a
    daemon.
    """
    import threading
    from concurrent.futures import Future
    from concurrent.futures import TimeoutError as FutureTimeoutError

    from huggingface_hub import HfApi

    answer: Future[ModelInfo] = Future()

    def run() -> None:
        try:
            answer.set_result(HfApi().model_info(repo_id, revision=revision, timeout=within_s))
        except Exception as error:  # noqa: BLE001 - raised again by answer.result()
            answer.set_exception(error)

    threading.Thread(target=run, name="farthing-hub", daemon=True).start()
    try:
        return answer.result(within_s)
    except FutureTimeoutError as error:
        raise ModelNotFoundError(f"no answer within {within_s:g} s") from error


def check_offer(repo_id: str, names: Iterable[str]) -> None:
    """Raise `CheckpointError` when none of the files is a safetensors file, before anything is downloaded."""
    files = [name for name in names if "/" not in name.removeprefix(OLD_FOLDER)]
    if "adapter_config.json" in files and "config.json" not in files:
        raise CheckpointError(
            f"{repo_id} is an adapter and no whole model. Merge it with its model first (peft: "
            "AutoPeftModel.from_pretrained(ID).merge_and_unload().save_pretrained(FOLDER)), and give that folder."
        )
    if any(name.endswith(".safetensors") for name in files):
        return
    pickles = [name for name in files if name.endswith(PICKLES)]
    if pickles:
        raise CheckpointError(
            f"{repo_id} offers its weights only as pickles ({', '.join(pickles[:3])}), which can run code when "
            "they are read. Only safetensors are read: take a revision or a copy that has them, or convert the model."
        )
    if any(name.endswith(".gguf") for name in files):
        raise CheckpointError(
            f"{repo_id} offers GGUF files. Download one of them (hf download {repo_id} FILE) and give its path."
        )
    shown = ", ".join(files[:5]) or "no files"
    raise CheckpointError(f"{repo_id} offers no *.safetensors ({shown}). Take a model that has them.")


@contextmanager
def reasons(repo_id: str, revision: str | None) -> Iterator[None]:
    """Turn the library's errors into a `ModelNotFoundError` of one line."""
    from huggingface_hub import errors

    try:
        yield
    # The base class of the network errors comes from the HTTP library of the hub library's version.
    except (errors.HTTPError, OSError, ValueError) as error:  # type: ignore[attr-defined]
        raise ModelNotFoundError(reason(error, repo_id, revision)) from error


def reason(error: Exception, repo_id: str, revision: str | None) -> str:
    """Why the hub could not give the model, in one line."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return f"{repo_id} is gated: accept its terms at {endpoint()}/{repo_id} and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return f"it has no model {repo_id}, or not one that is open to you (private models need HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no revision {revision}"
    if isinstance(error, OfflineModeIsEnabled):
        return "not asked, because HF_HUB_OFFLINE is set"
    if isinstance(error, HfHubHTTPError):
        detail = error.server_message or error.response.reason_phrase
        return f"it answered with HTTP {error.response.status_code} {detail}".rstrip()
    if isinstance(error, ValueError):
        return f"what answers there is not a model hub ({type(error).__name__})"
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        # The library keeps caches of other kinds beside that of models.
        return f"cannot write {error.filename}: {error.strerror}; set HF_HOME, or give a folder with --cache-dir"
    return f"{type(error).__name__}: {error}".splitlines()[0]
