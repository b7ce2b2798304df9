"""What a user can set, in frozen groups, each field with its help text and limits.

In: nothing. Out: dataclasses whose instances are valid by construction (`__post_init__` checks every field).
`farthing.core.resolve` merges file, environment and flags into them; the command line and docs/settings.md are
generated from the fields. Nothing here reads the environment, and nothing changes an instance after it was made:
"auto" stays "auto" here and is resolved into a new object by `farthing.engine.plan.plan`.
"""

from __future__ import annotations

from farthing.core.settings.access import AccessSettings
from farthing.core.settings.cache import CacheSettings
from farthing.core.settings.connection import ConnectionSettings
from farthing.core.settings.engine import QUANTISED_FORMATS, EngineSettings
from farthing.core.settings.field import Checked, base_type, check_field, is_of_type
from farthing.core.settings.model import ModelSettings
from farthing.core.settings.server import ServerSettings
from farthing.core.settings.serving import ServingSettings
from farthing.core.settings.source import SourceSettings
from farthing.core.settings.telemetry import TelemetrySettings
from farthing.core.settings.upstream import UpstreamSettings

__all__ = [
    "GROUPS", "QUANTISED_FORMATS", "RETIRED", "AccessSettings", "CacheSettings", "Checked", "ConnectionSettings",
    "EngineSettings", "ModelSettings", "ServerSettings", "ServingSettings", "SourceSettings", "TelemetrySettings",
    "UpstreamSettings", "base_type", "check_field", "is_of_type",
]  # fmt: skip

# Settings that nobody needed, with what takes their place. They are read for one more version, with a warning, and
# change nothing.
RETIRED: dict[str, tuple[type[Checked], str]] = {
    "engine_port": (UpstreamSettings, "an engine gets any free port"),
    "memory_high": (ServingSettings, "memory counts as short from 90% of what could be held"),
}
GROUPS: tuple[type[Checked], ...] = (
    SourceSettings, EngineSettings, ServingSettings, ServerSettings, AccessSettings, ConnectionSettings,
    CacheSettings, TelemetrySettings, UpstreamSettings,
)  # fmt: skip
