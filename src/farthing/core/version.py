"""The version of this package, also for the layers below its public face, and those of others."""

from __future__ import annotations

__version__ = "0.1.0"


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, as package indexes name it; None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes longer than help texts can wait

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
