"""What text-embeddings-inference says of its model in /info; the fields are those of its Rust struct `Info`."""

from __future__ import annotations

from farthing.core.version import __version__
from farthing.server.dialects.local_models import main_model
from farthing.server.models.service import Service

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
LABEL = "LABEL_0"  # what transformers calls the single class of a cross-encoder


def model_info(service: Service) -> dict[str, object]:
    """Return the answer to /info. Raises `ServingError` until the model is loaded."""
    model = main_model(service)
    settings, plan = model.settings, model.plan
    if service.embedder is None:
        model_type: dict[str, object] = {"reranker": {"id2label": {"0": LABEL}, "label2id": {LABEL: 0}}}
    else:
        model_type = {"embedding": {"pooling": service.embedder.space.pooling}}
    return {
        "model_id": service.default.name,
        "model_sha": None,
        "model_dtype": DTYPES[plan.dtype],
        "served_model_name": service.default.name,
        "model_type": model_type,
        "max_concurrent_requests": settings.max_running_requests,
        "max_input_length": plan.context_length,
        "max_batch_tokens": plan.max_batch_tokens,
        "max_batch_requests": settings.max_batch_size,
        "max_client_batch_size": settings.max_texts_per_request,
        "auto_truncate": settings.truncate,
        "tokenization_workers": settings.tokenizer_threads,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
