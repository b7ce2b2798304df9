"""The native library where the compiler does not know an instruction set."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import build_native
from farthing.quant.native.binding import NativeKernels

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("g++"), reason="no g++ for Linux here")


def test_what_the_compiler_does_not_know_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "old-g++"
    compiler.write_text("""#!/bin/sh
case "$*" in *-mamx*|*-march*) echo "unrecognized option" >&2; exit 1;; esac
exec g++ "$@"
""")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    library = tmp_path / "lib" / "libfarthing_native.so"
    build_native.build(library)
    kernels = NativeKernels(library, 1)
    assert kernels.isa == "portable"
    kernels.close()
    with pytest.raises(RuntimeError):
        NativeKernels(library, 1, "avx2")
