"""The kernels for ARM, compiled by a cross compiler and run by an emulator.

native/tests/hammer.cpp compares products with the portable code bit for bit, layers within a tolerance, and teams of
threads with one thread bit for bit.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from build_native import ROOT, Compiler, build

COMPILER, C_COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "gcc", "qemu-aarch64"
SYSTEM = "/usr/aarch64-linux-gnu"  # Debian's libraries for the emulated programs
TESTS = ROOT / "native" / "tests"
# Instructions a token of one layer of MiniLM: at most this share of the portable code's.
LARGEST_SHARES = {"neon_dotprod": 1 / 8.25, "neon_i8mm": 1 / 12.3}

pytestmark = [
    pytest.mark.skipif(
        platform.machine() != "x86_64" or not all(shutil.which(name) for name in (COMPILER, C_COMPILER, EMULATOR)),
        reason=f"needs {COMPILER} and {EMULATOR} (Debian: g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)",
    ),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def arm_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("arm") / "libfarthing_native.so"
    build(library, compiler=Compiler((COMPILER,), "aarch64", "linux"))
    return library


def compile_program(name: str, library: Path) -> Path:
    program = library.parent / name
    command = [COMPILER, "-std=c++17", "-O1", "-static-libstdc++", "-static-libgcc", TESTS / f"{name}.cpp"]
    subprocess.run([*command, library, "-pthread", "-o", program], check=True)
    return program


def emulate(program: Path, arguments: list[str], options: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [EMULATOR, "-cpu", "max", "-L", SYSTEM, "-E", f"LD_LIBRARY_PATH={program.parent}", *(options or [])]
    return subprocess.run([*command, str(program), *arguments], capture_output=True, text=True)


def test_products_are_those_of_the_portable_code(arm_library: Path) -> None:
    done = emulate(compile_program("hammer", arm_library), ["briefly"])
    assert done.returncode == 0, done.stderr
    finished = {line for line in done.stdout.splitlines() if ":" not in line}
    assert finished == {"portable", *LARGEST_SHARES}


@pytest.mark.slow
def test_a_token_takes_few_instructions(arm_library: Path) -> None:
    plugin = arm_library.parent / "count_instructions.so"
    subprocess.run([C_COMPILER, "-shared", "-fPIC", "-O2", TESTS / "count_instructions.c", "-o", plugin], check=True)
    program = compile_program("one_layer", arm_library)

    def instructions(isa: str, layers: int) -> int:
        done = emulate(program, [isa, str(layers)], ["-plugin", str(plugin), "-d", "plugin"])
        if "plugin" in done.stderr and "not" in done.stderr:
            pytest.skip(f"this {EMULATOR} takes no plugins: {done.stderr}")
        assert done.returncode == 0, done.stderr
        found = re.search(r"instructions: (\d+)", done.stderr)
        assert found is not None, done.stderr
        return int(found[1])

    def instructions_a_layer(isa: str) -> int:
        return instructions(isa, 2) - instructions(isa, 1)

    portable = instructions_a_layer("portable")
    shares = {isa: instructions_a_layer(isa) / portable for isa in LARGEST_SHARES}
    assert all(shares[isa] <= largest for isa, largest in LARGEST_SHARES.items()), shares
