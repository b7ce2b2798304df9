"""Keys and values of a prefix that texts share, held from one batch to the next.

The pass decides what a layer's keys and values are: it fills them when it computes the prefix, and reads them when a
later text continues from there. Only for causal models, where what comes first does not depend on what follows.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from farthing.core.deferred import dataclass


@dataclass(eq=False)
class HeldKeys:
    """
    Attributes:
        num_tokens: the number of held tokens, from a text's first token on.
        layers: the arrays or tensors of each layer, filled in while the tokens are computed; complete after the pass.
    """

    num_tokens: int
    layers: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        return sum(int(held.nbytes) for layer in self.layers for held in layer)


@dataclass(frozen=True)
class KnownPrefix:
    """The first `num_tokens` tokens of a held prefix."""

    held: HeldKeys
    num_tokens: int
