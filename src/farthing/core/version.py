"""The version of this package, also for the layers below its public face, and of what it runs with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"


def version_of(package: str) -> str:
    """The installed version of a package that only some installations have; "none" where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
