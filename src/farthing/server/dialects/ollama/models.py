"""The served models as Ollama's clients list them.

In: a service. Out: the objects of /api/tags, /api/ps and /api/show. Only models that make vectors are listed; Ollama's
clients can do nothing with others. Facts that this server does not know of a model (its licence, a template) are left
empty.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from farthing.server.dialects.local_models import embedder_of
from farthing.server.models.directory import LATEST
from farthing.server.models.service import Service
from farthing.server.models.slot import ModelEntry

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder

NEVER = "9999-12-31T23:59:59Z"  # when a model that stays loaded is unloaded


class NamedModels:
    """Ollama's view of the models. Their date is the time at which this was made, when the server starts."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started = datetime.now(timezone.utc).isoformat()

    def listed(self) -> list[dict[str, object]]:
        """Return all models that make vectors. A model that is not loaded has nothing but a name."""
        return [self._card(entry) for entry in self._service.models.entries if entry.task != "rerank"]

    def running(self) -> list[dict[str, object]]:
        cards = []
        for entry, embedder in self._loaded():
            plan, card = embedder.plan, self._card(entry)
            on_card = 0 if plan.main_place == "host" else card["size"]
            cards.append(card | {"expires_at": NEVER, "size_vram": on_card, "context_length": plan.context_length})
        return cards

    def shown(self, name: str | None) -> dict[str, object]:
        """Return what is known of a model.

        Raises `UnknownModelError`, `ServingError` until it is loaded, and `WrongTaskError` for a model that scores.
        """
        embedder = embedder_of(self._service, name)
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
            "details": details(embedder),
            "model_info": info,
            "capabilities": ["embedding"],
            "modified_at": self._started,
        }

    def _loaded(self) -> list[tuple[ModelEntry, Embedder]]:
        from farthing.serving.embedder import Embedder  # the module is loaded by now, if there is any embedder

        found = ((entry, backend.local) for entry, backend in self._service.loaded)
        return [(entry, model) for entry, model in found if isinstance(model, Embedder)]

    def _card(self, entry: ModelEntry) -> dict[str, object]:
        embedder = next((model for loaded, model in self._loaded() if loaded is entry), None)
        name = entry.name if ":" in entry.name else entry.name + LATEST  # clients look for a name with a tag
        return {
            "name": name,
            "model": name,
            "modified_at": self._started,
            "size": 0 if embedder is None else embedder.plan.ledger.own_bytes(embedder.plan.main_place),
            "digest": "" if embedder is None else embedder.space.fingerprint,
            "details": details(embedder),
        }


def details(embedder: Embedder | None) -> dict[str, object]:
    family = embedder.spec.family if embedder is not None else ""
    return {
        "parent_model": "",
        "format": "",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": "",
        "quantization_level": "" if embedder is None else embedder.plan.format.name,
    }
