"""The version of this package, for those below its public face too."""

from __future__ import annotations

__version__ = "0.1.0"
