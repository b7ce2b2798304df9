"""`farthing info`: shows what a bug report needs.

That is the versions, the device that would be used, the installed extras, and what a model's files say, if a model is
named.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from farthing.cli.common.commands import Command
from farthing.core.errors import ModelNotFoundError
from farthing.core.settings import EngineSettings, SourceSettings
from farthing.core.version import __version__, installed_version
from farthing.toolkit.bulk.progress import counted

# The distributions of each extra in pyproject.toml that its code imports.
EXTRAS = {
    "server": ("fastapi", "uvicorn", "orjson", "prometheus-client", "httpx"),
    "cuda": ("torch",),
    "redis": ("redis", "hiredis"),
    "memcached": ("emcache",),
    "otel": ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    "parquet": ("pyarrow",),
    "modelscope": ("modelscope",),
    "gguf": ("gguf",),
    "eval": ("scikit-learn", "scipy", "pytrec-eval-terrier", "matplotlib"),
    "mteb": ("mteb",),
    "search": ("lancedb", "pyarrow", "rjieba", "sudachipy", "sudachidict-small", "PyStemmer", "semantic-text-splitter"),
    "cluster": ("scikit-learn", "fast-hdbscan", "umap-learn", "pyarrow", "rjieba", "sudachipy", "PyStemmer"),
    "milvus": ("pymilvus", "milvus-lite"),
    "tiktoken": ("tiktoken",),
}
MADE_FOR = {"embed": "vectors", "rerank": "scores of pairs (farthing rerank)"}


@click.command("info", cls=Command, epilog="farthing info\nfarthing info ./my-model")
@click.argument("model", required=False)
@click.option("--device", default="auto", help="Device to describe: auto, cpu, cuda, or cuda:N. [default: auto]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(model: str | None, device: str, as_json: bool) -> None:
    """Show versions, the device and the installed extras. If MODEL is named, also show what its files say."""
    facts = gather(device)
    if model is not None:
        facts["model"] = model_facts(model, device)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for heading, section in {**facts, "device": device_words(facts["device"])}.items():
        click.echo(f"{heading}:")
        for name, value in section.items():
            click.echo(f"  {name.replace('_', ' '):16} {shown(value)}")


def gather(device: str) -> dict[str, dict[str, object]]:
    """Return all facts that do not concern a model, by section. Raises `SettingsError` when there is no such device."""
    # Imported here, since the help of other commands should not wait for it.
    from farthing.engine.plan.device import device_facts, is_card_unused
    from farthing.quant.formats import FORMATS
    from farthing.quant.native.team import native_kernels

    versions: dict[str, object] = {
        "farthing": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    described = device_facts(device)
    formats: dict[str, object] = {
        "available": ", ".join(FORMATS),
        "cpu_kernels": native_kernels(described.num_threads).isa,
    }
    if described.on_card:
        from farthing.engine.cards.facts import gpu_kernels

        formats["gpu_kernels"] = gpu_kernels(described)
    if is_card_unused(described):
        formats["gpu_kernels"] = "none: a card seems to be there, but torch is not. Run: pip install 'farthing[cuda]'"
    return {
        "versions": {**versions, "numpy": installed_version("numpy"), "torch": installed_version("torch") or "none"},
        "formats": formats,
        "device": asdict(described),
        "extras": {extra: all(map(installed_version, names)) for extra, names in EXTRAS.items()},
    }


def model_facts(name: str, device: str) -> dict[str, object]:
    """Return the facts about a model. No weights are read. Raises `ModelError` when it cannot be found or used."""
    from farthing.engine.describe import describe_model
    from farthing.engine.task import possible_tasks
    from farthing.sources.find import find_model

    check_is_no_shape(name)
    source = find_model(name, SourceSettings())
    description = describe_model(source.path, EngineSettings(device=device), task=None)
    spec, tensors = description.spec, description.checkpoint.tensors.values()
    stored = Counter(info.packed_as or info.dtype for info in tensors)
    return {
        "origin": source.origin,
        "made for": " or ".join(MADE_FOR[task] for task in possible_tasks(description.checkpoint)),
        "family": spec.family,
        "layers": spec.num_layers,
        "dimensions": spec.hidden,
        "context": description.embedding.max_tokens,
        "pooling": description.embedding.pooling,
        "stored as": ", ".join(f"{kind} ({counted(count, 'tensor')})" for kind, count in stored.most_common()),
        "fingerprint": description.identity,
    }


def check_is_no_shape(name: str) -> None:
    """Raise `ModelNotFoundError` for the name of a shape, or nearly that of one, since shapes have no files to read."""
    from farthing.cli.bench.model import check_mistyped, shape_name
    from farthing.sources.local import local_folder

    if local_folder(name) is not None:
        return
    shape = shape_name(name)
    if shape is not None:
        raise ModelNotFoundError(
            f"{shape} is the shape of a published model, without files here. What it takes: farthing plan {shape}; "
            f"a model of it with random weights: farthing synth {shape} FOLDER."
        )
    check_mistyped(name)


def device_words(facts: Mapping[str, Any]) -> dict[str, object]:
    """Return the facts about a device that people ask for; `--json` shows all of them."""
    is_cpu = facts["device"] in ("cpu", "torch-cpu")
    words: dict[str, object] = {
        "name": f"{facts['device']}: {facts['name']}",
        "memory": f"{gibibytes(facts['total_bytes'])}, {gibibytes(facts['free_bytes'])} free",
        "threads": facts["num_threads"],
    }
    if is_cpu:
        return words
    if facts["host_free_bytes"] is not None:
        words["host memory"] = f"{gibibytes(facts['host_free_bytes'])} free"
    if facts["others"]:
        words["other cards"] = ", ".join(facts["others"])
    return {
        **words,
        "fast bf16": facts["fast_bf16"],
        "fast fp8": facts["fast_fp8"],
        "flash attention": facts["flash_attention"],
    }


def gibibytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"


def shown(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
