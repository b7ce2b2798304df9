"""Served models as Ollama's clients list them.

In: a service. Out: the objects of /api/tags, /api/ps and /api/show. Only models that make vectors are listed; Ollama's
clients can do nothing with others. What this server does not know of a model (its licence, a template) is left empty.
"""

from __future__ import annotations

from datetime import datetime, timezone

from farthing.server.dialects.local import embedder_of
from farthing.server.service import Service

NEVER = "9999-12-31T23:59:59Z"  # when a model is unloaded that stays


class Models:
    """Made when the server starts, which is when its models are said to be of."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started = datetime.now(timezone.utc).isoformat()

    def listed(self) -> list[dict[str, object]]:
        """Also those that are still being loaded, with nothing but a name."""
        if self._service.served and self._service.embedder is None:
            return []
        return [self._card()]

    def running(self) -> list[dict[str, object]]:
        embedder = self._service.embedder
        if embedder is None:
            return []
        plan, card = embedder.plan, self._card()
        on_card = 0 if plan.main_place == "host" else card["size"]
        return [card | {"expires_at": NEVER, "size_vram": on_card, "context_length": plan.context_length}]

    def shown(self) -> dict[str, object]:
        """Raises `ServingError` until it is loaded, and `WrongTaskError` for one that scores."""
        embedder = embedder_of(self._service)
        family = embedder.spec.family
        info: dict[str, object] = {
            "general.architecture": family,
            f"{family}.block_count": embedder.spec.num_layers,
            f"{family}.context_length": embedder.context_length,
            f"{family}.embedding_length": embedder.dimensions,
            f"{family}.attention.head_count": embedder.spec.num_heads,
            f"{family}.attention.head_count_kv": embedder.spec.num_kv_heads,
        }
        return {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": self._card()["details"],
            "model_info": info,
            "capabilities": ["embedding"],
            "modified_at": self._started,
        }

    def _card(self) -> dict[str, object]:
        name, embedder = self._service.name, self._service.embedder
        family = embedder.spec.family if embedder is not None else ""
        return {
            "name": name,
            "model": name,
            "modified_at": self._started,
            "size": 0 if embedder is None else embedder.plan.ledger.own_bytes(embedder.plan.main_place),
            "digest": "" if embedder is None else embedder.space.fingerprint,
            "details": {
                "parent_model": "",
                "format": "",
                "family": family,
                "families": [family] if family else [],
                "parameter_size": "",
                "quantization_level": "" if embedder is None else embedder.plan.format.name,
            },
        }
