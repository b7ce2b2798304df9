"""The native kernels under GCC's sanitizers: native/tests/hammer.cpp drives the C interface, and any report fails."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build_native import ROOT, TEST_AVXVNNI, build

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("g++"), reason="no g++ for Linux here")
DRIVER = ROOT / "native" / "tests" / "hammer.cpp"
# libtsan of GCC 12 does not find its way around address spaces as random as newer kernels make them.
WITHOUT_RANDOM_ADDRESSES = ["setarch", platform.machine(), "-R"]


def compiles(tmp_path: Path, flags: list[str]) -> bool:
    source = tmp_path / "empty.cpp"
    source.write_text("int main() {}\n")
    return subprocess.run(["g++", *flags, source, "-o", tmp_path / "empty"], capture_output=True).returncode == 0


def test_the_driver_speaks_the_interface_as_it_is() -> None:
    """The sanitizers' runs are slow; that the driver still compiles is known after a second."""
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", DRIVER], check=True)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "flags",
    [
        ["-fsanitize=thread"],
        ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    ],
    ids=["thread", "address and undefined"],
)
def test_the_kernels_give_a_sanitizer_nothing_to_report(tmp_path: Path, flags: list[str]) -> None:
    if not compiles(tmp_path, flags):
        pytest.skip(f"g++ cannot link {flags[0]} here")
    library, driver = tmp_path / "lib" / "libfarthing_native.so", tmp_path / "hammer"
    build(library, " ".join(["-g", "-O1", TEST_AVXVNNI, *flags]))
    subprocess.run(["g++", "-std=c++17", "-g", "-O1", "-pthread", *flags, DRIVER, library, "-o", driver], check=True)
    done = subprocess.run(
        [*WITHOUT_RANDOM_ADDRESSES, driver],
        env={**os.environ, "LD_LIBRARY_PATH": str(library.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = done.stdout.split()
    assert "portable" in seen
    assert ("avxvnni" in seen) == ("avx512vnni" in seen)
