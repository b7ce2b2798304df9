"""Whether a model computes shared prefixes once, and how much memory held prefixes may take.

Pure arithmetic, for the plan; the sharing itself is in `farthing.engine.prefix_cache`.
"""

from __future__ import annotations

from farthing.core.settings import EngineSettings
from farthing.core.sizes import parse_bytes
from farthing.engine.plan.budget import budget_bytes
from farthing.engine.plan.device import DeviceFacts
from farthing.engine.plan.run_mode import DTYPE_BYTES, Way
from farthing.models.spec import ModelSpec

# The default: a few hundred tokens of a Qwen3 model, and never more than one part in PREFIX_SHARE of the memory.
PREFIX_BYTES = 64 * 2**20
PREFIX_SHARE = 32
BF16_BYTES = 2  # in which the int8 kernels hold keys and values; those of exact formats hold fp32


def shares_prefixes(settings: EngineSettings, facts: DeviceFacts, spec: ModelSpec) -> bool:
    """Whether a model computes shared prefixes once. On cards this is not measured yet, and must be asked for."""
    return spec.sees_all_before and (
        settings.share_prefixes == "on" or (settings.share_prefixes == "auto" and not facts.on_card)
    )


def prefix_bytes(settings: EngineSettings, facts: DeviceFacts, spec: ModelSpec) -> int:
    """The most bytes that held keys and values may take."""
    if not shares_prefixes(settings, facts, spec):
        return 0
    if settings.prefix_cache != "auto":
        return parse_bytes(settings.prefix_cache) or 0
    budget = budget_bytes(settings, facts)
    return PREFIX_BYTES if budget is None else min(PREFIX_BYTES, budget // PREFIX_SHARE)


def held_token_bytes(spec: ModelSpec, way: Way) -> int:
    """The bytes of the keys and values of a token in all layers."""
    return 2 * spec.kv_width * spec.num_layers * held_bytes(way)


def held_bytes(way: Way) -> int:
    """The bytes of a number of keys and values."""
    return BF16_BYTES if way.is_native and way.format.form == "int8" else DTYPE_BYTES[way.dtype]
