"""The native library where the compiler does not know an instruction set."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

import build_native
import wheel_targets
from farthing.core.errors import NativeLibraryError
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.place import LIBRARY
from farthing.quant.native.team import PORTABLE_SLOWER, say_if_slow

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


def test_only_what_this_cpu_runs_best(tmp_path: Path) -> None:
    compiler = build_native.find_compiler()
    best = build_native.best_isa_here(compiler)
    library, objects = tmp_path / "lib" / "libfarthing_native.so", tmp_path / "objects"
    build_native.build(library, compiler=compiler, only={best}, objects=objects)
    kernels = NativeKernels(library, 1)
    assert kernels.isa == best
    kernels.close()
    made = {file.name: file.stat().st_mtime_ns for file in objects.iterdir()}
    assert f"layer.{best}.o" in made
    assert "layer.portable.o" not in made or best == "portable"
    build_native.build(library, compiler=compiler, only={best}, objects=objects)  # links what is there
    assert {file.name: file.stat().st_mtime_ns for file in objects.iterdir()} == made


def test_another_wish_than_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARTHING_NATIVE", "fast")
    with pytest.raises(SystemExit, match="could not be compiled: FARTHING_NATIVE is 'fast'; it can be here or all"):
        build_native.main([])


def test_a_library_for_another_cpu(tmp_path: Path) -> None:
    """Such a library may be in a checkout that was copied; here it is one without any instruction set."""
    library = tmp_path / "lib" / "libfarthing_native.so"
    build_native.build(library, only=set())
    with pytest.raises(NativeLibraryError, match=f"{library} was compiled for other CPUs"):
        NativeKernels(library, 1)


def test_slow_kernels_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    for isa, cpu_isa, told in (
        ("avx2", "avx2", ""),
        ("avx512bf16", "amx", "could run the faster ones for amx, which were not compiled"),
        ("portable", "portable", f"some {PORTABLE_SLOWER} times slower than AVX2's"),
    ):
        say_if_slow.cache_clear()
        caplog.clear()
        say_if_slow(isa, cpu_isa)
        assert told in caplog.text
        assert bool(told) == bool(caplog.records)
    say_if_slow.cache_clear()


def test_the_cpu_is_known_without_its_kernels() -> None:
    kernels = NativeKernels(LIBRARY, 1, "portable")
    assert kernels.cpu_isa == build_native.best_isa_here(build_native.find_compiler())
    kernels.close()


def test_where_there_is_no_compiler_pip_brings_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as caught:
        build_native.main([])
    assert caught.value.code == build_native.NO_COMPILER
    assert "neither g++, c++ nor clang++ is on PATH" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ziglang")
    compiler = build_native.find_compiler()
    assert compiler == wheel_targets.target_here().compiler
    assert "-mcpu=" in str(compiler.instruction_sets) or "x86_64_v3" in str(compiler.instruction_sets)


def test_the_compiler_that_pip_brings_is_the_one_that_makes_wheels() -> None:
    requirements = (build_native.ROOT / "tools" / "requirements-wheels.txt").read_text().splitlines()
    assert build_native.ZIG in requirements


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [({}, [build_native.ZIG]), ({"FARTHING_NATIVE": "apart"}, []), ({"FARTHING_WHEEL_TARGET": "a triple"}, [])],
)
def test_a_build_asks_for_a_compiler_only_where_it_needs_one(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: list[str]
) -> None:
    assert build_native.compiler_requirements() == []
    for name in ("FARTHING_NATIVE", "FARTHING_WHEEL_TARGET"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert build_native.compiler_requirements() == wanted
