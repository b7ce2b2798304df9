"""How many files and connections the process may have open.

In: how many connections the settings allow. Out: how many there can be. The limit that a process begins with is often
1,024, far below what the system would give it.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

from farthing.core.settings import ConnectionSettings

logger = logging.getLogger(__name__)

OTHER_FILES = 512  # the model's, libraries', connections to other servers


def fit_connections(settings: ConnectionSettings) -> ConnectionSettings:
    """Raise the process's limit as far as `settings` needs it; with fewer connections where the system gives less."""
    if sys.platform == "win32":
        return settings
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return settings
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    if allowed == wanted:
        return settings
    num_connections = max(allowed - OTHER_FILES, allowed // 2)
    logger.warning(
        "At most %d connections instead of %d: the process may open %d files (ulimit -Hn, LimitNOFILE)",
        num_connections, settings.max_connections, allowed,
    )  # fmt: skip
    return replace(settings, max_connections=num_connections)
