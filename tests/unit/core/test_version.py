from __future__ import annotations

from importlib.metadata import version

from farthing.core.version import installed_version


def test_the_version_of_what_is_installed_and_none_of_what_is_not() -> None:
    assert installed_version("numpy") == version("numpy")
    assert installed_version("no-such-distribution") is None
