"""Where the native library lies, and what is wrong where it cannot be loaded."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

from farthing.core.errors import NativeLibraryError

NAMES = {"darwin": "libfarthing_native.dylib", "win32": "farthing_native.dll"}
# Put there by native/build_native.py, or by the wheel.
LIBRARY = Path(__file__).parent / "lib" / NAMES.get(sys.platform, "libfarthing_native.so")

REMEDY = (
    "Install a wheel of farthing for this machine (pip install --force-reinstall --only-binary farthing farthing); "
    "or install a C++ compiler (g++ or clang++), and with it farthing's source (pip install --no-binary farthing "
    "farthing; in a checkout: python native/build_native.py)."
)


def open_library(path: Path) -> ctypes.CDLL:
    """Raises `NativeLibraryError`, which says what this machine is and what helps."""
    if not path.is_file():
        raise NativeLibraryError(f"There is no native library {path}, for {describe_machine()}. {REMEDY}")
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        message = f"The native library {path} cannot be loaded: {error}. This is {describe_machine()}. {REMEDY}"
        raise NativeLibraryError(message) from error


def describe_machine() -> str:
    """System, C library and CPU, such as "Linux with glibc 2.36 on x86_64"."""
    system = f"{platform.system()} {platform.release()}" if sys.platform != "linux" else f"Linux with {describe_libc()}"
    return f"{system} on {platform.machine() or 'an unknown CPU'}"


def describe_libc() -> str:
    name, version = platform.libc_ver()
    if name:
        return f"{name} {version}"
    return "musl" if list(Path("/lib").glob("ld-musl-*")) else "an unknown C library"
