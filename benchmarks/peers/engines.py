"""The table of engines. A new one is a file beside this one, and a row here.

An engine's module has `load(task) -> Embed`; one that computes models of its own format also has
`export(task, folder)`, which writes the model there. Nothing of an engine is imported before it is used.
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
        module: of this package.
        packages: distributions that it needs, the ones whose versions make a difference.
        exports: whether it needs the model in its own format.
    """

    module: str
    packages: tuple[str, ...]
    exports: bool = False

    def load(self, task: Task) -> Embed:
        embed: Embed = import_module(f"peers.{self.module}").load(task)
        return embed

    def export(self, task: Task) -> None:
        """Into `task.exported`, which appears when it is whole."""
        partial = task.exported.with_name(task.exported.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        import_module(f"peers.{self.module}").export(task, partial)
        partial.rename(task.exported)

    def folder(self) -> str:
        """Name of an exported model's folder: another version may write another model."""
        return "-".join(f"{name}{version(name)}" for name in self.packages)


ENGINES = {
    "farthing-int8": Engine("farthing_engine", ("farthing", "torch")),
    "farthing-fp32": Engine("farthing_engine", ("farthing", "torch")),
    "onnxruntime": Engine("onnxruntime_engine", ("onnxruntime", "onnx", "onnxscript", "transformers"), exports=True),
    "openvino": Engine("openvino_engine", ("openvino", "nncf", "transformers"), exports=True),
    "transformers": Engine("transformers_engine", ("transformers", "torch")),
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
