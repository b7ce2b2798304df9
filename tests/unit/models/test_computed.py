"""What a spec can say and is not computed is refused by its name, before any weight is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from farthing.core.errors import CheckpointError
from farthing.models.computed import check_spec
from farthing.models.spec import AttentionSpec, FeedForwardSpec, LayerSpec, ModelSpec, NormSpec, RopeSpec

NORM = NormSpec("rms", 1e-6)
ATTENTION = AttentionSpec(4, 2, 32, is_causal=True, head_norm=NORM, rope=RopeSpec(1e6))
LAYER = LayerSpec(ATTENTION, FeedForwardSpec(256, "silu", is_gated=True), NORM, norm_place="before")


def spec_of(layer: LayerSpec = LAYER, **fields: Any) -> ModelSpec:
    """Of two layers, the second of which is `layer`."""
    return ModelSpec("toy", 100, 128, 512, (LAYER, layer), **{"last_norm": NORM, **fields})


def attending(**fields: Any) -> LayerSpec:
    return replace(LAYER, attention=replace(ATTENTION, **fields))


REFUSED = {
    "attention.norms_whole_rows": spec_of(attending(norms_whole_rows=True)),
    "attention.head_norm.kind": spec_of(attending(head_norm=NormSpec("layer", 1e-6))),
    "attention.rope.fraction": spec_of(attending(rope=RopeSpec(1e6, fraction=0.5))),
    "attention.rope.is_interleaved": spec_of(attending(rope=RopeSpec(1e6, is_interleaved=True))),
}


def test_what_is_computed_is_not_refused() -> None:
    check_spec(spec_of())
    check_spec(spec_of(attending(is_causal=False, head_norm=None, rope=None), last_norm=None))


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_not_computed_is_refused_by_its_name(field: str) -> None:
    with pytest.raises(CheckpointError, match=f"model's {field} is .* not computed here yet"):
        check_spec(REFUSED[field])
