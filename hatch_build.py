"""Build hook: compiles native/ into the package. Where that fails, Farthing works without it, slower."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "native"))

from build_native import LIBRARY, ROOT, build


class NativeBuildHook(BuildHookInterface):  # type: ignore[misc]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if self.target_name != "wheel":
            return
        try:
            build()
        except (OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", None) or error
            self.app.display_warning(f"The native CPU kernels were not built; int8 will run without them: {detail}")
            LIBRARY.unlink(missing_ok=True)
            return
        build_data["artifacts"].append(str(LIBRARY.relative_to(ROOT)))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
