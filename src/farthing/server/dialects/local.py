"""What routes about the model itself, and not about its answers, need of a service.

In: a service. Out: the models that it runs in this process, or the error that says why there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farthing.core.errors import ServingError, WrongTaskError
from farthing.server.service import Service

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder
    from farthing.serving.served import ServedModel


def embedder_of(service: Service) -> Embedder:
    """Raises `ServingError` until it is loaded, and `WrongTaskError` on a server that only scores."""
    main_model(service)
    if service.embedder is None:
        raise WrongTaskError(f"This server's model {service.name!r} scores pairs and makes no vectors.")
    return service.embedder


def main_model(service: Service) -> ServedModel:
    """The embedding model, or the reranker of a server that only scores. Raises `ServingError` until it is loaded."""
    if not service.served:
        raise ServingError(service.health().reason)
    return service.served[0]


def compute_type(service: Service) -> str:
    """Where the models compute: cpu or gpu."""
    return "gpu" if main_model(service).plan.device.startswith("cuda") else "cpu"
