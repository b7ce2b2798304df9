"""The version of this package, also for the layers below its public face."""

from __future__ import annotations

__version__ = "0.1.0"
