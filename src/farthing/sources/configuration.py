"""A model's configuration without its weights, for planning before anything large is downloaded.

In: a name as the user gave it. Out: a folder with config.json: the model's own where it is on this machine, else a
temporary one with the few files of this kind that the hub has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from farthing.core.errors import ModelNotFoundError
from farthing.core.settings import SourceSettings
from farthing.sources.find import find_model
from farthing.sources.local import adapter_message, has_config, local_folder


@contextmanager
def find_configuration(name: str, settings: SourceSettings) -> Iterator[Path]:
    """Find the folder that holds a model's configuration, for as long as the context lasts.

    Raises:
        ModelNotFoundError: neither this machine nor the hub has the model. ModelScope models are only found when they
            were downloaded.
        SettingsError: a revision of a local folder was asked for.
    """
    try:
        found = find_model(name, replace(settings, offline=True), show_progress=False)
    except ModelNotFoundError as error:
        from farthing.sources.remote import MODELSCOPE_PREFIX

        if local_folder(name) is not None or settings.offline or name.startswith(MODELSCOPE_PREFIX):
            raise ModelNotFoundError(f"{error}\nTo download a model: farthing pull {name}") from error
    else:
        yield found.path
        return
    with temporary_configuration(name, settings) as folder:
        yield folder


@contextmanager
def temporary_configuration(name: str, settings: SourceSettings) -> Iterator[Path]:
    """A temporary folder with the configuration that the hub has. Raises `ModelNotFoundError`."""
    import tempfile

    from farthing.sources.hub import download_configuration, endpoint
    from farthing.sources.remote import ANSWER_WITHIN_S, HINT, STARTER

    with tempfile.TemporaryDirectory() as folder:
        repo_id = STARTER if name == "starter" else name
        try:
            download_configuration(repo_id, settings, Path(folder), answer_within_s=ANSWER_WITHIN_S)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(
                f"{name} is not on this machine, and the Hugging Face hub ({endpoint()}) does not have it now: {error}."
                f"\n{HINT}"
            ) from error
        if not has_config(Path(folder)):
            raise ModelNotFoundError(
                adapter_message(Path(folder))
                or f"{repo_id} has no config.json on the hub, so that nothing can be planned from it."
            )
        yield Path(folder)
