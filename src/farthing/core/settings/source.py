"""Where a model comes from."""

from __future__ import annotations

from farthing.core.deferred import dataclass
from farthing.core.settings.field import Checked, option


@dataclass(frozen=True)
class SourceSettings(Checked):
    """Where the model comes from."""

    revision: str | None = option(None, "Branch, tag or commit of a hub model.")
    cache_dir: str | None = option(None, "Folder for downloads (default: ~/.cache/farthing, hubs use their own).")
    offline: bool = option(False, "Use only what is on this machine.")
