"""The task that a model is opened for: its head, and the token ids that it takes from the tokenizer.

In: a model's files and the task. Out: how rows are made, and which tensors that needs. Texts are not tokenised here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from farthing.checkpoint.files import ModelFiles, open_files
from farthing.checkpoint.tokenizer_file import read_tokenizer
from farthing.core.errors import WrongTaskError
from farthing.models.config import architectures, assumed_note
from farthing.models.embedding_config import embedding_spec, is_sentence_model, max_tokens
from farthing.models.family import Family
from farthing.models.forward.heads import Head, Task, head_of, is_classifier
from farthing.models.layout import Layout
from farthing.models.spec import EmbeddingSpec, ModelSpec

# What to do instead, by the task that a model was asked for and is not made for.
REMEDY: dict[Task, str] = {
    "embed": "scores pairs of texts and makes no vectors. Use Reranker, farthing rerank, or farthing serve EMBEDDER "
    "--reranker with it.",
    "rerank": "makes vectors and scores no pairs. Use Embedder, farthing embed or farthing serve with it, or name a "
    "reranker.",
}


def own_task(config: Mapping[str, Any]) -> Task:
    """The task of a model by its architecture alone; a model that can do both makes vectors."""
    return "rerank" if is_classifier(config) else "embed"


def task_of(path: Path) -> Task:
    """The task of a model by its files, as `own_task`. Raises `CheckpointError` when they cannot be read."""
    return own_task(open_files(path).config)


def possible_tasks(checkpoint: ModelFiles) -> tuple[Task, ...]:
    """The tasks that a model can be opened for. Raises `CheckpointError` for a head that is not supported."""
    if is_classifier(checkpoint.config):
        return ("rerank",)
    can_score = head_of(checkpoint.config) is not None and not is_sentence_model(checkpoint)
    return ("embed", "rerank") if can_score else ("embed",)


def head_for(checkpoint: ModelFiles, task: Task) -> Head | None:
    """The head that a model has for a task; None for "embed".

    Raises:
        WrongTaskError: the model is not made for the task.
        CheckpointError: the head is not supported.
    """
    if task not in possible_tasks(checkpoint):
        names = ", ".join(architectures(checkpoint.config))
        raise WrongTaskError(f"{checkpoint.path} ({names}) {REMEDY[task]}{assumed_note(checkpoint.config)}")
    return head_of(checkpoint.config) if task == "rerank" else None


def pooling_and_prompts(checkpoint: ModelFiles, spec: ModelSpec, family: Family, head: Head | None) -> EmbeddingSpec:
    """How the model pools, and its prompts. Raises `CheckpointError` for poolings that are not supported."""
    if head is None:
        return embedding_spec(checkpoint, spec, family.fallback(checkpoint.config))
    return EmbeddingSpec(pooling=head.pooling, max_tokens=max_tokens(checkpoint, spec))


def with_head(checkpoint: ModelFiles, spec: ModelSpec, layout: Layout, head: Head) -> tuple[ModelSpec, Layout]:
    """The spec and layout of an encoder that has this head.

    Raises:
        TokenizerError: there is no tokenizer, or it lacks a token that the head needs.
    """
    tokenizer = cache(partial(read_tokenizer, checkpoint.path))  # some take 300 MiB, and not every model needs it here
    separator = pair_separator(tokenizer()) if spec.input.num_token_types > 1 else None
    layout = head.extended(layout, spec, checkpoint.config, lambda word: tokenizer().token_to_id(word))
    return replace(spec, pair_separator=separator), layout


def pair_separator(tokenizer: Tokenizer) -> int | None:
    """The last token of type 0 in a pair; None where all tokens are of one type."""
    encoding = tokenizer.encode("a", "a")
    return encoding.ids[encoding.type_ids.index(1) - 1] if 1 in encoding.type_ids else None
