"""What of a spec is computed: the rest is refused by the field's name, before any weight is read."""

from __future__ import annotations

from farthing.core.errors import CheckpointError
from farthing.models.spec import LayerSpec, ModelSpec, NormSpec


def check_spec(spec: ModelSpec) -> None:
    """Raise a `CheckpointError` that names the field that is not computed, if there is one."""
    around: dict[str, tuple[object, object]] = {  # what the spec says, and what is computed
        "input.scale": (spec.input.scale, 1.0),
        "input.norm.gain_offset": offset_of(spec.input.norm),
        "last_norm.gain_offset": offset_of(spec.last_norm),
    }
    for found in (around, *(computed_of(layer) for layer in set(spec.layers))):
        for field, (said, computed) in found.items():
            if said != computed:
                refuse(field, said)


def offset_of(norm: NormSpec | None) -> tuple[float, float]:
    return 0.0 if norm is None else norm.gain_offset, 0.0


def computed_of(layer: LayerSpec) -> dict[str, tuple[object, object]]:
    """By field, what the layer's spec says, and what is computed."""
    attention, rope = layer.attention, layer.attention.rope
    found: dict[str, tuple[object, object]] = {
        "attention.scale": (attention.scale, None),
        "attention.window": (attention.window, None),
        "attention.norms_whole_rows": (attention.norms_whole_rows, False),
        "attention.bias_by_distance": (attention.bias_by_distance, None),
        "attention.head_norm.gain_offset": offset_of(attention.head_norm),
        "norm.gain_offset": offset_of(layer.norm),
    }
    if attention.head_norm is not None:
        found["attention.head_norm.kind"] = attention.head_norm.kind, "rms"
    if rope is not None:
        found["attention.rope.fraction"] = rope.fraction, 1.0
        found["attention.rope.is_interleaved"] = rope.is_interleaved, False
    if layer.norm_place == "both":
        found["norm_place"] = layer.norm_place, "before or after"
    return found


def refuse(field: str, value: object) -> None:
    raise CheckpointError(f"This model's {field} is {value!r}, which is not computed here yet. Take another model.")
