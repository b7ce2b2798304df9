"""What goes before the texts of a model whose files are elsewhere.

In: optionally a folder or hub id that has the model's configuration. Out: the literal prefix of a request. Nothing is
guessed from a model's name: without a configuration, only literal prompts are taken.
"""

from __future__ import annotations

from farthing.core.errors import UnknownPromptError
from farthing.core.settings import SourceSettings
from farthing.models.spec import EmbeddingSpec
from farthing.serving.request import EmbedRequest
from farthing.serving.text.prompts import prompt_prefix

NOTHING_KNOWN = EmbeddingSpec(pooling="last", max_tokens=0)


def read_prompts(model: str, settings: SourceSettings) -> EmbeddingSpec:
    """The prompts of a model, by its local folder or hub id; only its small files are read, or fetched.

    Raises:
        ModelNotFoundError: neither this machine nor the hub has the model.
        CheckpointError, UnknownArchitectureError: its files cannot be read, or are of a family that is not built.
    """
    # These import torch, which a server whose models are elsewhere does not need otherwise.
    from farthing.checkpoint.files import open_files
    from farthing.models.embedding_config import embedding_spec
    from farthing.models.families import family_of
    from farthing.sources.configuration import find_configuration

    with find_configuration(model, settings) as folder:
        checkpoint = open_files(folder)
        family = family_of(checkpoint.config)
        return embedding_spec(checkpoint, family.spec(checkpoint.config), family.fallback(checkpoint.config))


def upstream_prefix(request: EmbedRequest, spec: EmbeddingSpec | None, max_chars: int) -> str:
    """As `prompt_prefix`; `spec` is None where the model's prompts are not known.

    Raises:
        InputError: the request uses two ways that contradict each other.
        TextTooLargeError: the prefix has more than `max_chars` characters.
        UnknownPromptError: the model has no such prompt, or it is not known whether it has.
    """
    if spec is not None:
        return prompt_prefix(request, spec, max_chars)
    for name in ("prompt_name", "instruction"):
        if getattr(request, name) is not None:
            raise UnknownPromptError(
                f"This model runs on another server, and its prompts are not known here, so that {name} cannot be "
                "served. Send the literal text as prompt, or start this server with --upstream-prompts and a folder or "
                "hub id of the model.",
                param=name,
            )
    return prompt_prefix(request, NOTHING_KNOWN, max_chars)


def prompt_warnings(request: EmbedRequest, spec: EmbeddingSpec | None) -> tuple[str, ...]:
    """Warnings about an input_type that cannot be heeded."""
    if spec is None and request.input_type is not None:
        return ("input_type has no effect: this model's prompts are not known here (upstream_prompts)",)
    return ()
