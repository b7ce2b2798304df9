"""Where the native library cannot be loaded, the error says which, on what machine, and what to do."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import build_native
from farthing.core.errors import NativeLibraryError
from farthing.quant.native import place
from farthing.quant.native.library import load
from farthing.quant.native.place import LIBRARY, open_library


def test_the_build_puts_the_library_where_it_is_looked_for() -> None:
    assert build_native.LIBRARY == LIBRARY


def assert_helps(error: NativeLibraryError, path: Path) -> None:
    message = str(error)
    assert str(path) in message
    assert platform.machine() in message
    assert "pip install" in message
    assert "compiler" in message


def test_a_missing_library(tmp_path: Path) -> None:
    path = tmp_path / "libfarthing_native.so"
    with pytest.raises(NativeLibraryError, match="There is no native library") as caught:
        open_library(path)
    assert_helps(caught.value, path)


def test_a_file_that_the_loader_refuses(tmp_path: Path) -> None:
    path = tmp_path / "libfarthing_native.so"
    path.write_bytes(b"\x7fELF, but no more")
    with pytest.raises(NativeLibraryError, match=r"cannot be loaded: .+") as caught:
        open_library(path)
    assert_helps(caught.value, path)
    assert caught.value.__cause__ is not None
    assert str(caught.value.__cause__) in str(caught.value)  # what the loader says


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="no gcc for Linux here")
def test_a_library_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "libfarthing_native.so"
    source = tmp_path / "empty.c"
    source.write_text("int ft_of_another_version(void) { return 0; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", path], check=True)
    with pytest.raises(NativeLibraryError, match="another version of Farthing: it has no ft_pool_create"):
        load(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has several C libraries")
def test_the_c_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.12"))
    assert place.describe_machine().startswith("Linux with glibc 2.12 on ")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("/lib/ld-musl-x86_64.so.1")]))
    assert place.describe_machine().startswith("Linux with musl on ")
