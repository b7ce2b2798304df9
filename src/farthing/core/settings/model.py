"""Settings of one model of several."""

from __future__ import annotations

from farthing.core.deferred import dataclass
from farthing.core.settings.field import Checked, option


@dataclass(frozen=True)
class ModelSettings(Checked):
    """A table `[models.NAME]` of the config file. Any setting of the groups source, engine, serving and upstream may
    stand in it too, for this model alone ([models](models.md))."""

    model: str | None = option(None, "What is served under this name, as `farthing serve` takes it (default: NAME).")
    aliases: tuple[str, ...] = option((), "Further names that clients may use.")
    model_task: str = option(
        "auto",
        "What it is for: vectors (embed), scores of pairs (rerank), or what its architecture says (auto).",
        choices=("auto", "embed", "rerank"),
    )
    memory_share: float | None = option(
        None,
        "Part of the memory that it may use, from 0 to 1 (default: of what the others leave, in proportion to its "
        "weights).",
        minimum=0.001,
        maximum=1,
    )
    preload: bool = option(False, "Load it when the server starts, not when it is first asked.")
    keep_alive_s: float | None = option(
        None, "Unload it after so many seconds without a request (default: never).", minimum=0
    )
