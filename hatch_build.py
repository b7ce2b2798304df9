"""Build hook: a wheel has the native library inside, compiled from native/.

For this machine by the compiler that is found, or else by one that pip brings: with FARTHING_NATIVE=here for this CPU
alone, and with FARTHING_NATIVE=apart not at all, for an editable installation beside which it is compiled. With
FARTHING_WHEEL_TARGET (a triple of native/wheel_targets.py) for that platform, by Clang from the package `ziglang`;
tools/make_wheels.py makes all wheels so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "native"))

from build_native import FOLDER, LIBRARY, LIBRARY_NAMES, REMEDY, ROOT, build, build_if_changed, compiler_requirements
from wheel_targets import TARGETS


class NativeBuildHook(BuildHookInterface):  # type: ignore[misc]
    def dependencies(self) -> list[str]:
        return compiler_requirements() if self.target_name == "wheel" else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        build_data["pure_python"] = False
        triple = os.environ.get("FARTHING_WHEEL_TARGET")
        if triple:
            self._build_for(triple, build_data)
        elif version == "editable" and os.environ.get("FARTHING_NATIVE") == "apart":
            pass  # native/build_native.py is called by itself, and the library is found in the checkout
        else:
            self._build_here(build_data)

    def _build_here(self, build_data: dict[str, Any]) -> None:
        try:
            build_if_changed()
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            message = f"Farthing's library for CPUs, which is C++, could not be compiled: {error}. {REMEDY}"
            raise RuntimeError(message) from error
        build_data["artifacts"].append(LIBRARY.relative_to(ROOT).as_posix())
        # For any Python 3: the library is called through ctypes.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def _build_for(self, triple: str, build_data: dict[str, Any]) -> None:
        target = next(target for target in TARGETS if target.triple == triple)
        name = LIBRARY_NAMES[target.compiler.system]
        self._scratch = tempfile.TemporaryDirectory()  # beside the checkout's own library, which is this machine's
        library = Path(self._scratch.name) / name
        build(library, compiler=target.compiler)
        inside = (FOLDER / name).relative_to(ROOT / "src").as_posix()
        build_data["force_include"][str(library)] = inside
        build_data["tag"] = f"py3-none-{target.tag}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if hasattr(self, "_scratch"):
            self._scratch.cleanup()
