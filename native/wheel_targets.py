"""The platforms that wheels are made for, and their compiler: Clang as `ziglang` on PyPI has it, with the headers and
libraries of every platform, old versions of glibc among them. One machine makes all wheels."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from build_native import MACHINES, Compiler, parse_triple


@dataclass(frozen=True)
class Target:
    """One platform.

    Attributes:
        triple: the platform as zig names it.
        tag: the wheel's platform tag. Wheels are for every Python 3: ctypes needs no ABI.
        is_tested: wheels for it have been installed and their kernels run, for ARM under an emulator.
    """

    triple: str
    tag: str
    is_tested: bool

    @property
    def compiler(self) -> Compiler:
        command = (sys.executable, "-m", "ziglang", "c++", "-target", self.triple, "-g0", "-s")
        return ZigCompiler(command, *parse_triple(self.triple))


# Zig has other names for what GCC and Clang write after -march.
ZIG_FLAGS = {
    "-march=x86-64-v3": "-march=x86_64_v3",
    "-march=x86-64-v4": "-march=x86_64_v4",
    "-march=armv8.2-a": "-mcpu=generic+v8_2a",
}


class ZigCompiler(Compiler):
    @property
    def instruction_sets(self) -> dict[str, tuple[str, str]]:
        return {name: (blocks, zig_flags(flags)) for name, (blocks, flags) in super().instruction_sets.items()}


def zig_flags(flags: str) -> str:
    for ours, theirs in ZIG_FLAGS.items():
        flags = flags.replace(ours, theirs)
    return flags


def target_here() -> Target:
    """This machine's platform."""
    machine, libc = MACHINES.get(platform.machine().lower(), platform.machine().lower()), platform.libc_ver()[0]
    system = {"linux": "linux-gnu" if libc == "glibc" else "linux-musl", "darwin": "macos", "win32": "windows"}
    name = f"{machine}-{system.get(sys.platform, sys.platform)}"
    found = next((target for target in TARGETS if target.triple.startswith(name)), None)
    if found is None:
        raise FileNotFoundError(f"no C++ compiler: ziglang is not used for {name}")
    return found


TARGETS = (
    Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64", is_tested=True),
    Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64", is_tested=True),
    Target("x86_64-linux-musl", "musllinux_1_1_x86_64", is_tested=False),
    Target("aarch64-linux-musl", "musllinux_1_1_aarch64", is_tested=False),
    Target("aarch64-macos.11.0", "macosx_11_0_arm64", is_tested=False),
    Target("x86_64-macos.11.0", "macosx_11_0_x86_64", is_tested=False),
    Target("x86_64-windows-gnu", "win_amd64", is_tested=False),
)
