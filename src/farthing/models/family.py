"""A model family: how config.json becomes a `ModelSpec`, and what the model's tensors are called.

A family is data. What a spec says is computed elsewhere (`farthing.models.torch_pass`,
`farthing.models.forward.native_pass`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from farthing.models.layout import Layout
from farthing.models.spec import EmbeddingSpec, ModelSpec


class Family(Protocol):
    """A row of `farthing.models.families.FAMILIES`.

    Attributes:
        architectures: the `architectures` entries of config.json that this family computes.
    """

    @property
    def architectures(self) -> tuple[str, ...]: ...

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        """How vectors are made, as far as the files beside config.json do not say."""
        ...

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        """The model's spec. Raises `CheckpointError` for values that this family does not compute."""
        ...

    def layout(self, spec: ModelSpec) -> Layout: ...
