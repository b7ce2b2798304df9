"""What a spec can say and is not computed is refused by its name, before any weight is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from farthing.core.errors import CheckpointError
from farthing.models.computed import check_spec
from farthing.models.spec import AttentionSpec, FeedForwardSpec, InputSpec, LayerSpec, ModelSpec, NormSpec, RopeSpec

NORM = NormSpec("rms", 1e-6)
OFFSET = NormSpec("rms", 1e-6, gain_offset=1.0)
ATTENTION = AttentionSpec(4, 2, 32, is_causal=True, head_norm=NORM, rope=RopeSpec(1e6))
LAYER = LayerSpec(ATTENTION, FeedForwardSpec(256, "silu", is_gated=True), NORM, norm_place="before")


def spec_of(layer: LayerSpec = LAYER, **fields: Any) -> ModelSpec:
    """Of two layers, the second of which is `layer`."""
    return ModelSpec("toy", 100, 128, 512, (LAYER, layer), **{"last_norm": NORM, **fields})


def attending(**fields: Any) -> LayerSpec:
    return replace(LAYER, attention=replace(ATTENTION, **fields))


REFUSED = {
    "attention.scale": spec_of(attending(scale=0.5)),
    "attention.window": spec_of(attending(window=128)),
    "attention.norms_whole_rows": spec_of(attending(norms_whole_rows=True)),
    "attention.bias_by_distance": spec_of(attending(bias_by_distance="alibi")),
    "attention.head_norm.kind": spec_of(attending(head_norm=NormSpec("layer", 1e-6))),
    "attention.head_norm.gain_offset": spec_of(attending(head_norm=OFFSET)),
    "attention.rope.fraction": spec_of(attending(rope=RopeSpec(1e6, fraction=0.5))),
    "attention.rope.is_interleaved": spec_of(attending(rope=RopeSpec(1e6, is_interleaved=True))),
    "attention.rope.scaling": spec_of(attending(rope=RopeSpec(1e6, scaling="ntk"))),
    "norm.gain_offset": spec_of(replace(LAYER, norm=OFFSET)),
    "norm_place": spec_of(replace(LAYER, norm_place="both")),
    "input.scale": spec_of(input=InputSpec(scale=11.3)),
    "input.norm.gain_offset": spec_of(input=InputSpec(norm=OFFSET)),
    "last_norm.gain_offset": spec_of(last_norm=OFFSET),
}


def test_what_is_computed_is_not_refused() -> None:
    check_spec(spec_of())
    check_spec(spec_of(attending(is_causal=False, head_norm=None, rope=None), last_norm=None))


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_not_computed_is_refused_by_its_name(field: str) -> None:
    with pytest.raises(CheckpointError, match=f"model's {field} is .* not computed here yet"):
        check_spec(REFUSED[field])
