"""Prometheus metrics: what each is (`catalogue`), where its numbers come from, the text of /metrics (`exporter`)."""

from farthing.server.observe.metrics.exporter import Metrics
from farthing.server.observe.metrics.models import ModelState, ServerState, model_state

__all__ = ["Metrics", "ModelState", "ServerState", "model_state"]
