"""The table of model families. A new family is a file beside this one, and a row here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.core.errors import UnknownArchitectureError
from farthing.models.config import architectures, cut, shown
from farthing.models.families.bert import BertFamily
from farthing.models.families.distilbert import DistilBertFamily
from farthing.models.families.gemma3 import Gemma3Family
from farthing.models.families.llama import LlamaFamily
from farthing.models.families.modernbert import ModernBertFamily
from farthing.models.families.mpnet import MPNetFamily
from farthing.models.families.qwen3 import Qwen3Family
from farthing.models.families.rotary_bert import RotaryBertFamily
from farthing.models.family import Family

FAMILIES: dict[str, Family] = {
    "qwen3": Qwen3Family(),
    "bert": BertFamily(),
    "distilbert": DistilBertFamily(),
    "mpnet": MPNetFamily(),
    "modernbert": ModernBertFamily(),
    "gemma3": Gemma3Family(),
    "rotary_bert": RotaryBertFamily(),
    "llama": LlamaFamily(),
}


def family_of(config: Mapping[str, Any]) -> Family:
    """The family that computes the architecture in config.json.

    Raises:
        UnknownArchitectureError: there is none; the message names the architectures that can be computed.
    """
    names = architectures(config)
    for family in FAMILIES.values():
        if any(name in family.architectures for name in names):
            return family
    known = ", ".join(name for family in FAMILIES.values() for name in family.architectures)
    if not names:
        raise UnknownArchitectureError(
            f"config.json names no architectures, and its model_type is {shown(config.get('model_type'))}. Write into "
            f"it which one it is; available: {known}."
        )
    raise UnknownArchitectureError(f"The checkpoint's architecture is {cut(', '.join(names))}; available: {known}.")
