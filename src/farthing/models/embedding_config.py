"""Reads how a checkpoint's vectors are made, from the files that sentence-transformers writes.

In: modules.json, N_Pooling/config.json, sentence_bert_config.json (or its older names),
config_sentence_transformers.json and tokenizer_config.json of a `Checkpoint`. Out: an `EmbeddingSpec`. The family
supplies what the files leave open.
Modules that are not supported (Dense layers, other poolings) are refused: ignoring them would give wrong vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from farthing.checkpoint.files import ModelFiles
from farthing.core.errors import CheckpointError
from farthing.models.config import cut, is_finite, shown, table
from farthing.models.spec import EmbeddingSpec, ModelSpec, Pooling

MAX_PATH = 200  # characters of a folder's name
PROMPTS_FILE = "config_sentence_transformers.json"
# The first of these that is there counts: earlier versions of sentence-transformers named the file after the family.
TRANSFORMER_FILES = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
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
    """How the checkpoint's vectors are made. Raises `CheckpointError` for unsupported poolings and modules."""
    prompts_file = table(checkpoint.json(PROMPTS_FILE), PROMPTS_FILE)
    stated = table(prompts_file.get("prompts"), f"{PROMPTS_FILE}: prompts")
    stored = {name: text for name, text in stated.items() if isinstance(text, str)}
    # A model with other prompts under the same names was trained anew: none of the fallback's words belong to it.
    is_another = any(stored.get(name, text) != text for name, text in fallback.prompts.items())
    prompts = stored if is_another else {**fallback.prompts, **stored}
    default_prompt = prompts_file.get("default_prompt_name")
    if default_prompt is not None and (not isinstance(default_prompt, str) or default_prompt not in prompts):
        raise CheckpointError(
            f"{PROMPTS_FILE} makes {shown(default_prompt)} the default prompt, but has only: "
            f"{cut(', '.join(prompts) or 'none')}."
        )
    return replace(
        fallback,
        pooling=pooling(checkpoint, fallback.pooling),
        max_tokens=max_tokens(checkpoint, spec),
        prompts=prompts,
        default_prompt=default_prompt,
        instruction_template=None if is_another else fallback.instruction_template,
        end_token=None if is_another else fallback.end_token,
        matryoshka_min=matryoshka_min(checkpoint, fallback.matryoshka_min),
        lowercases=lowercases(checkpoint),
    )


def matryoshka_min(checkpoint: ModelFiles, fallback: int | None) -> int | None:
    stated = checkpoint.config.get("matryoshka_dimensions") or [fallback or 0]
    if not isinstance(stated, list) or not all(type(value) is int and value >= 0 for value in stated):
        raise CheckpointError(
            f"config.json: matryoshka_dimensions is {shown(stated)}; a list of whole numbers is needed."
        )
    return min(stated) or None


def modules(checkpoint: ModelFiles) -> list[tuple[str, str]]:
    """The kind and folder of each module that modules.json names. Raises `CheckpointError`."""
    stated = checkpoint.json("modules.json") or []
    if not isinstance(stated, list) or not all(isinstance(module, dict) for module in stated):
        raise CheckpointError(f"modules.json is {shown(stated)}; a list of modules is needed. Download it again.")
    found = [(str(module.get("type", "")).rsplit(".", 1)[-1], str(module.get("path", ""))) for module in stated]
    for _, path in found:
        place = PurePosixPath(path)
        if place.is_absolute() or ".." in place.parts or "\0" in path or len(path) > MAX_PATH:
            raise CheckpointError(
                f"modules.json names {shown(path)}, which is no folder of the model. Download it again."
            )
    return found


def is_sentence_model(checkpoint: ModelFiles) -> bool:
    """Whether the model's files say how rows are pooled to vectors, as those of embedding models do."""
    return any(kind == "Pooling" for kind, _ in modules(checkpoint))


def pooling(checkpoint: ModelFiles, fallback: Pooling) -> Pooling:
    found = fallback
    for kind, path in modules(checkpoint):
        if kind == "Pooling":
            file = f"{path}/config.json"
            config = checkpoint.json(file)
            if config is None:  # a guess would give silently wrong vectors
                raise CheckpointError(f"{checkpoint.path} lacks {file}, which modules.json names. Download it again.")
            found = read_pooling(table(config, file))
        elif kind not in ("Transformer", "Normalize"):
            raise CheckpointError(
                f"modules.json names the module {cut(kind)}; built are Transformer, Pooling and Normalize."
            )
    return found


def read_pooling(config: Mapping[str, Any]) -> Pooling:
    modes = config.get("pooling_mode") or [mode for key, mode in LEGACY_POOLINGS.items() if config.get(key)] or "mean"
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise CheckpointError(f"The checkpoint's pooling_mode is {shown(modes)}; a name is needed. Download it again.")
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointError(f"The checkpoint pools by {cut(' + '.join(modes))}; available: {', '.join(POOLINGS)}.")
    if config.get("include_prompt") is False:
        raise CheckpointError("The checkpoint leaves prompt tokens out of pooling (include_prompt: false); not built.")
    return POOLINGS[modes[0]]


def transformer_file(checkpoint: ModelFiles) -> tuple[str, Mapping[str, Any]]:
    """The name and content of the file on how sentence-transformers calls the model; empty where there is none."""
    for file in TRANSFORMER_FILES:
        found = table(checkpoint.json(file), file)
        if found:
            return file, found
    return TRANSFORMER_FILES[0], {}


def lowercases(checkpoint: ModelFiles) -> bool:
    file, stated = transformer_file(checkpoint)
    value = stated.get("do_lower_case")
    if value not in (None, True, False):
        raise CheckpointError(f"{file}: do_lower_case is {shown(value)}; true or false is needed. Download it again.")
    return bool(value)


def max_tokens(checkpoint: ModelFiles, spec: ModelSpec) -> int:
    """The smallest of the limits that the files state and the number of positions that can be told apart."""
    lengths = [spec.max_positions]
    own, tokenizer = transformer_file(checkpoint), "tokenizer_config.json"
    tokenizer_config = table(checkpoint.json(tokenizer), tokenizer)
    for (file, stated), key in ((own, "max_seq_length"), ((tokenizer, tokenizer_config), "model_max_length")):
        value = stated.get(key)
        if value is None:
            continue
        if not is_finite(value) or value < 1:
            raise CheckpointError(
                f"{file}: {key} is {shown(value)}; a whole number of at least 1 is needed. Download the model again."
            )
        lengths.append(int(value))  # transformers writes 1e30 where there is no limit
    return min(lengths)
