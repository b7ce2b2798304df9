"""What routes that tell about the models themselves, rather than use them, need from a service.

In: a service. Out: the models that it runs in this process, or an error that says why there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farthing.core.errors import ServingError, WrongTaskError
from farthing.server.models.answers import wrong_task
from farthing.server.models.service import Service

if TYPE_CHECKING:
    from farthing.serving.backend import Backend
    from farthing.serving.embedder import Embedder
    from farthing.serving.local_model import ServedModel


def embedder_of(service: Service, name: str | None = None) -> Embedder:
    """Return the model that clients call `name`, or the model that answers when none is named.

    Raises `UnknownModelError`, `ServingError` until the model is loaded, and `WrongTaskError` for a model that only
    scores.
    """
    entry = next(iter(service.models.find(name, "embed")), service.default)
    found = local_model(service, entry.backend, entry.name)
    if found.task != "embed":
        raise wrong_task(entry.name, "embed", service.models.names_for("embed"))
    from farthing.serving.embedder import Embedder  # the module is loaded by now

    assert isinstance(found, Embedder)
    return found


def main_model(service: Service) -> ServedModel:
    """Return the model that the server was started for. Raises `ServingError` until it is loaded."""
    return local_model(service, service.default.backend, service.default.name)


def local_model(service: Service, backend: Backend | None, name: str) -> ServedModel:
    state = service.health()
    if backend is None or state.status in ("loading", "closed"):
        raise ServingError(state.reason or f"The model {name} is not loaded yet; it is when it is asked for vectors.")
    if backend.local is None:
        raise WrongTaskError(f"The model {name} runs in another server, which this one knows too little of for that.")
    return backend.local


def compute_type(service: Service) -> str:
    """Return where the models compute, "cpu" or "gpu"; "cpu" also where that is not known."""
    backend = service.default.backend
    local = None if backend is None else backend.local
    return "gpu" if local is not None and local.plan.device.startswith("cuda") else "cpu"
