"""The table of engines. A new one is a file beside this one, and a row here.

`peers.<module>_engine` has `load(task) -> Embed`; for engines with a format of their own, `peers.<module>_export` has
`export_int8(task, file)`. Nothing of an engine is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from peers.task import Embed, Task

REQUIREMENTS = Path(__file__).parents[1] / "requirements-peers.txt"


@dataclass(frozen=True)
class Engine:
    """
    Attributes:
        packages: distributions that it needs, the ones whose versions make a difference.
        exported: file name of a model in its own format; None when it takes the checkpoint.
    """

    module: str
    packages: tuple[str, ...]
    exported: str | None = None

    def load(self, task: Task) -> Embed:
        embed: Embed = import_module(f"peers.{self.module}_engine").load(task)
        return embed

    def export(self, task: Task) -> None:
        """To `task.exported`, whose folder appears when it is whole."""
        assert self.exported
        partial = task.exported.parent.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        import_module(f"peers.{self.module}_export").export_int8(task, partial / self.exported)
        partial.rename(task.exported.parent)

    def file(self, cache: Path) -> Path:
        """Where a model's export is kept: another version may write another one."""
        return cache / "-".join(f"{name}{version(name)}" for name in self.packages) / (self.exported or "")


ENGINES = {
    "farthing-int8": Engine("farthing", ("farthing", "numpy")),
    "farthing-fp32": Engine("farthing", ("farthing", "numpy")),
    "farthing-bf16": Engine("farthing", ("farthing", "numpy")),
    "onnxruntime": Engine("onnxruntime", ("onnxruntime", "onnx", "onnxscript", "transformers"), exported="int8.onnx"),
    "openvino": Engine("openvino", ("openvino", "nncf", "transformers"), exported="int8.xml"),
    "transformers": Engine("transformers", ("transformers", "torch")),
    "transformers-bf16": Engine("transformers", ("transformers", "torch")),
}


def check_installed(names: Sequence[str]) -> list[str]:
    """The packages of these engines. Raises `SystemExit` that says how to install the missing ones."""
    packages = list(dict.fromkeys(package for name in names for package in ENGINES[name].packages))
    missing = []
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        raise SystemExit(
            f"Not installed: {', '.join(missing)}. Run pip install -r {REQUIREMENTS}, or choose with --engines."
        )
    return packages
