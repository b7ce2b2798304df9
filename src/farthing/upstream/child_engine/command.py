"""The command line of another engine that is to make vectors. A new engine is a function, and an entry in `ENGINES`."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from farthing.core.errors import SettingsError
from farthing.core.settings import UpstreamSettings

# Lets clients that ask the engine itself choose dimensions; this server cuts vectors on its own.
CUTTABLE = json.dumps({"is_matryoshka": True})


def sglang_flags(path: Path, context_length: int | None, memory_fraction: float | None) -> list[str]:
    """The flags of SGLang: https://docs.sglang.io/advanced_features/server_arguments.html"""
    flags = ["serve", "--model-path", str(path), "--is-embedding", "--json-model-override-args", CUTTABLE]
    flags += [] if context_length is None else ["--context-length", str(context_length)]
    return flags + ([] if memory_fraction is None else ["--mem-fraction-static", str(memory_fraction)])


def vllm_flags(path: Path, context_length: int | None, memory_fraction: float | None) -> list[str]:
    """The flags of vLLM: https://docs.vllm.ai/en/latest/models/pooling_models.html"""
    flags = ["serve", str(path), "--runner", "pooling", "--convert", "embed", "--hf-overrides", CUTTABLE]
    flags += [] if context_length is None else ["--max-model-len", str(context_length)]
    return flags + ([] if memory_fraction is None else ["--gpu-memory-utilization", str(memory_fraction)])


ENGINES: dict[str, Callable[[Path, int | None, float | None], list[str]]] = {"sglang": sglang_flags, "vllm": vllm_flags}


def engine_command(
    settings: UpstreamSettings, path: Path, name: str, port: int, context_length: int | None
) -> list[str]:
    """The command that starts `settings.engine` for the model in `path`, called `name`, on a port of this machine.

    Raises:
        SettingsError: the engine is not installed, or its further flags cannot be read.
    """
    flags = ENGINES[settings.engine](path, context_length, settings.engine_memory_fraction)
    try:
        further = shlex.split(settings.engine_args)
    except ValueError as error:
        raise SettingsError(f"engine_args cannot be read: {error}", param="engine_args") from error
    called = settings.upstream_model or name
    address = ["--served-model-name", called, "--host", "127.0.0.1", "--port", str(port)]
    return [executable(settings.engine), *flags, *address, *further]


def executable(engine: str) -> str:
    """The engine's command: beside this Python, else on the PATH. Raises `SettingsError`."""
    found = shutil.which(engine, path=str(Path(sys.executable).parent)) or shutil.which(engine)
    if found is None:
        raise SettingsError(
            f"engine is {engine}, and there is no command {engine} beside {sys.executable} or on the PATH. Install it, "
            f"best in an environment of its own whose bin folder is on the PATH: pip install {engine}. Or start it "
            "elsewhere, and give its URL as upstream.",
            param="engine",
        )
    return found


def free_port() -> int:
    """A port that is free now.

    Another process may take it before the engine does; the engine then fails and is started again.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
