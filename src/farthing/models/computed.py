"""What of a spec is computed: the rest is refused by the field's name, before any weight is read."""

from __future__ import annotations

from farthing.core.errors import CheckpointError
from farthing.models.spec import LayerSpec, ModelSpec


def check_spec(spec: ModelSpec) -> None:
    """Raise a `CheckpointError` that names the field that is not computed, if there is one."""
    for found in map(computed_of, set(spec.layers)):
        for field, (said, computed) in found.items():
            if said != computed:
                refuse(field, said)


def computed_of(layer: LayerSpec) -> dict[str, tuple[object, object]]:
    """By field, what the layer's spec says, and what is computed."""
    attention, rope = layer.attention, layer.attention.rope
    found: dict[str, tuple[object, object]] = {
        "attention.norms_whole_rows": (attention.norms_whole_rows, False),
    }
    if attention.head_norm is not None:
        found["attention.head_norm.kind"] = attention.head_norm.kind, "rms"
    if rope is not None:
        found["attention.rope.fraction"] = rope.fraction, 1.0
        found["attention.rope.is_interleaved"] = rope.is_interleaved, False
    return found


def refuse(field: str, value: object) -> None:
    raise CheckpointError(f"This model's {field} is {value!r}, which is not computed here yet. Take another model.")
