"""Models on ModelScope, through its own package, which is optional.

In: a model id and the source settings. Out: a folder in that package's cache. Only safetensors and text files are
fetched: never pickles, never code.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from farthing.core.errors import MissingExtraError, ModelNotFoundError
from farthing.core.files import user_path
from farthing.core.settings import SourceSettings
from farthing.sources.hub import UNWANTED, WANTED


def modelscope_snapshot(model_id: str, settings: SourceSettings, *, cached: bool = False) -> Path:
    """The model's files at `settings.revision` (default: master); with `cached`, only what was downloaded earlier.

    Raises:
        MissingExtraError: the package `modelscope` is not installed.
        ModelNotFoundError: the package could not give the model. The message is one line.
    """
    if importlib.util.find_spec("modelscope") is None:
        raise MissingExtraError(f"modelscope:{model_id}", "modelscope")
    package = importlib.import_module("modelscope.hub.snapshot_download")
    try:
        folder = package.snapshot_download(
            model_id,
            revision=settings.revision,
            cache_dir=settings.cache_dir and str(user_path(settings.cache_dir)),
            allow_patterns=WANTED,
            ignore_patterns=UNWANTED,
            local_files_only=cached,
        )
    except Exception as error:  # its versions share no base class of errors
        raise ModelNotFoundError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    return Path(folder).absolute()
