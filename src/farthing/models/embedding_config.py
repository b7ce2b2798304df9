"""How a checkpoint says its vectors are made: the files that sentence-transformers writes.

In: modules.json, N_Pooling/config.json, sentence_bert_config.json, config_sentence_transformers.json and
tokenizer_config.json of a `Checkpoint`. Out: an `EmbeddingSpec`. What the files leave open comes from the family.
Modules that are not built (Dense layers, other poolings) are refused: ignoring them would give wrong vectors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from farthing.checkpoint.files import ModelFiles
from farthing.core.errors import CheckpointError
from farthing.models.spec import EmbeddingSpec, ModelSpec, Pooling

POOLINGS: dict[str, Pooling] = {"lasttoken": "last", "cls": "cls", "mean": "mean"}
LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}


def embedding_spec(checkpoint: ModelFiles, spec: ModelSpec, fallback: EmbeddingSpec) -> EmbeddingSpec:
    """Raises `CheckpointError` for poolings and modules that are not built."""
    prompts_file = checkpoint.json("config_sentence_transformers.json") or {}
    stored = {name: text for name, text in (prompts_file.get("prompts") or {}).items() if isinstance(text, str)}
    prompts, default_prompt = {**fallback.prompts, **stored}, prompts_file.get("default_prompt_name")
    if default_prompt is not None and default_prompt not in prompts:
        raise CheckpointError(
            f"config_sentence_transformers.json makes {default_prompt!r} the default prompt, but has only: "
            f"{', '.join(prompts) or 'none'}."
        )
    return replace(
        fallback,
        pooling=pooling(checkpoint, fallback.pooling),
        max_tokens=max_tokens(checkpoint, spec),
        prompts=prompts,
        default_prompt=default_prompt,
        matryoshka_min=min(checkpoint.config.get("matryoshka_dimensions") or [fallback.matryoshka_min or 0]) or None,
    )


def is_sentence_model(checkpoint: ModelFiles) -> bool:
    """Whether its files say how rows are pooled to vectors, as those of embedding models do."""
    modules = checkpoint.json("modules.json") or []
    return any(str(module.get("type", "")).rsplit(".", 1)[-1] == "Pooling" for module in modules)


def pooling(checkpoint: ModelFiles, fallback: Pooling) -> Pooling:
    found = fallback
    for module in checkpoint.json("modules.json") or []:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind == "Pooling":
            file = f"{module.get('path')}/config.json"
            config = checkpoint.json(file)
            if config is None:  # a guess would give silently wrong vectors
                raise CheckpointError(f"{checkpoint.path} lacks {file}, which modules.json names. Download it again.")
            found = read_pooling(config)
        elif kind not in ("Transformer", "Normalize"):
            raise CheckpointError(
                f"modules.json names the module {kind}; built are Transformer, Pooling and Normalize."
            )
    return found


def read_pooling(config: dict[str, Any]) -> Pooling:
    modes = config.get("pooling_mode") or [mode for key, mode in LEGACY_POOLINGS.items() if config.get(key)]
    modes = [modes] if isinstance(modes, str) else list(modes) or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointError(f"The checkpoint pools by {' + '.join(modes)}; available: {', '.join(POOLINGS)}.")
    if config.get("include_prompt") is False:
        raise CheckpointError("The checkpoint leaves prompt tokens out of pooling (include_prompt: false); not built.")
    return POOLINGS[modes[0]]


def max_tokens(checkpoint: ModelFiles, spec: ModelSpec) -> int:
    """The least of what the files state and what the positions can tell apart."""
    stated = (
        (checkpoint.json("sentence_bert_config.json") or {}).get("max_seq_length"),
        (checkpoint.json("tokenizer_config.json") or {}).get("model_max_length"),
    )
    return min([spec.max_positions, *(int(value) for value in stated if isinstance(value, (int, float)))])
