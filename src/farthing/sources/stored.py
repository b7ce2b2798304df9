"""Models that are on this machine already, as `find_model` would find them, and how they are removed.

In: the source settings. Out: the models in the hub library's cache, which other tools share, and in Farthing's own
folder for downloads. A folder that was given as a path is its user's own, and is not listed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import CachedRepoInfo, HFCacheInfo, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.files import FARTHING_CACHE, cache_folder
from farthing.core.settings import SourceSettings
from farthing.sources.hub import hub_cache_folder
from farthing.sources.wheel import STARTER_WHEEL, StarterWheel

PREPARED = "prepared"  # folder of models whose weights were rounded when they were first opened
SYNTHETIC = "synthetic"  # folder of models with random weights, which `farthing bench` made


@dataclass(frozen=True)
class StoredModel:
    """
    Attributes:
        name: name by which the model is asked for.
        origin: one phrase.
        num_bytes: size on disk.
        remove: removes the model. Raises `OSError`.
    """

    name: str
    origin: str
    path: Path
    num_bytes: int
    remove: Callable[[], object]


def stored_models(settings: SourceSettings, wheel: StarterWheel = STARTER_WHEEL) -> list[StoredModel]:
    """All stored models, by name. Raises `SettingsError` where there is no home folder to look into."""
    found = [*of_hub(hub_cache_folder(settings))]
    try:
        root = cache_folder(settings.cache_dir, FARTHING_CACHE, "HOME")
    except SettingsError:
        if not found:
            raise
        return sorted(found, key=lambda model: model.name)
    found += [*of_wheel(wheel, root), *of_shapes(root / SYNTHETIC), *of_prepared(root / PREPARED)]
    return sorted(found, key=lambda model: model.name)


def of_hub(folder: Path) -> Iterator[StoredModel]:
    try:
        info = scan_cache_dir(folder)
    except (CacheNotFound, ValueError):  # no cache yet, or something else of that name
        return
    for repo in info.repos:
        if repo.repo_type == "model" and any(is_model(revision.snapshot_path) for revision in repo.revisions):
            yield StoredModel(repo.repo_id, "Hugging Face hub", repo.repo_path, repo.size_on_disk, remover(info, repo))


def is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def remover(info: HFCacheInfo, repo: CachedRepoInfo) -> Callable[[], object]:
    commits = [revision.commit_hash for revision in repo.revisions]
    return lambda: info.delete_revisions(*commits).execute()


def of_wheel(wheel: StarterWheel, root: Path) -> Iterator[StoredModel]:
    folder = root / wheel.copy_name
    if folder.is_dir() and not folder.is_symlink():
        yield StoredModel("starter", f"package index ({wheel.requirement})", *measured(folder))


def of_shapes(root: Path) -> Iterator[StoredModel]:
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if (folder / "config.json").is_file() and not folder.is_symlink():
            yield StoredModel(f"{SYNTHETIC}/{folder.name}", "random weights, made by farthing bench", *measured(folder))


def of_prepared(root: Path) -> Iterator[StoredModel]:
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if (folder / "config.json").is_file() and not folder.is_symlink():
            yield StoredModel(f"{PREPARED}/{folder.name}", "rounded at a first start", *measured(folder))


def measured(folder: Path) -> tuple[Path, int, Callable[[], object]]:
    num_bytes = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
    return folder, num_bytes, lambda: shutil.rmtree(folder)
