"""What is known about a model before its weights are read: its files, its shape, and how it will be run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from farthing.checkpoint.files import ModelFiles, open_files
from farthing.checkpoint.manifest import FILE as MANIFEST_FILE
from farthing.checkpoint.manifest import Manifest, read_manifest, remedy
from farthing.checkpoint.model_folder import adapter_in, own_folder
from farthing.checkpoint.quantiser import REMEDY, quantised_by
from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.tokenizer_file import tokenizer_path
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError, SettingsError
from farthing.core.settings import EngineSettings
from farthing.engine.fidelity import check_fidelity
from farthing.engine.plan.choose import make_plan
from farthing.engine.plan.device import device_facts
from farthing.engine.plan.plan import Plan
from farthing.engine.plan.run_mode import ModelShape
from farthing.engine.task import head_for, own_task, pooling_and_prompts, with_head
from farthing.models.computed import check_spec
from farthing.models.config import shown, stored_format
from farthing.models.families import family_of
from farthing.models.family import Family
from farthing.models.forward.heads import Head, Task
from farthing.models.forward.native_pass import check_widths
from farthing.models.forward.rotation import Rotation
from farthing.models.layout import Layout
from farthing.models.spec import EmbeddingSpec, ModelSpec
from farthing.quant.formats import FORMATS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelDescription:
    """
    Attributes:
        rotation: the rotation of the residual stream, where the weights are quantised and the model allows it; else
            None.
        manifest: the manifest of a folder of quantised weights; None for other models.
        head: the head of a model that scores pairs; None for a model that makes vectors.
    """

    checkpoint: ModelFiles
    family: Family
    spec: ModelSpec
    embedding: EmbeddingSpec
    layout: Layout
    plan: Plan
    rotation: Rotation | None
    manifest: Manifest | None = None
    head: Head | None = None

    @property
    def path(self) -> Path:
        return self.checkpoint.path

    @property
    def shape(self) -> ModelShape:
        return model_shape(self.checkpoint, self.manifest, self.spec, self.layout, self.embedding.max_tokens)

    @property
    def shares_prefixes(self) -> bool:
        """Whether prefixes that a batch's texts share are computed once; this needs last-token pooling."""
        return self.plan.shares_prefixes and self.embedding.pooling == "last"

    @cached_property
    def identity(self) -> str:
        """Sixteen hexadecimal digits, which differ between models whose exact vectors differ.

        The identity depends on the weights, tokenizer, pooling, context and prompts.

        A folder of quantised weights has the identity of the model it was made from, as long as its files are as they
        were written. A folder that was calibrated, or was changed since, has an identity of its own.
        """
        source, manifest = self.checkpoint.fingerprint, self.manifest
        if manifest and manifest.calibration is None and manifest.folder_fingerprint == source:
            source = manifest.source_fingerprint
        made = self.embedding
        facts: list[object] = [source, made.pooling, made.max_tokens, made.prompts]
        facts += [made.default_prompt, made.instruction_template]
        if made.lowercases:  # only where true, so that identities given before this fact was added stay the same
            facts.append("lowercases")
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def with_plan(self, plan: Plan) -> ModelDescription:
        """The same model with another plan."""
        return replace(self, plan=plan, rotation=rotation_of(self.spec, self.layout, plan, self.manifest))


def describe_model(path: Path, settings: EngineSettings, task: Task | None = "embed") -> ModelDescription:
    """Describe a model that is opened for `task`; None stands for the task that its architecture implies.

    Raises:
        WrongTaskError: the model is not made for the task.
        CheckpointError: files are missing or broken, or ask for something that is not supported.
        UnknownArchitectureError: no family computes this model.
        SettingsError: the settings ask for something that the model or device cannot do.
    """
    checkpoint, manifest = open_files(path), read_manifest(path)
    adapter = adapter_in(path)
    if adapter is not None:
        log.warning(
            "%s holds a whole model and beside it %s, which is not applied: the vectors are those of the model "
            "alone. If it should be, merge the two and save the result.",
            path,
            adapter,
        )
    if manifest:
        settings = stored_settings(manifest, path, settings)
        check_fidelity(manifest, checkpoint, settings)
    family = family_of(checkpoint.config)
    head = head_for(checkpoint, task or own_task(checkpoint.config))
    spec = family.spec(checkpoint.config)
    check_spec(spec)
    embedding = pooling_and_prompts(checkpoint, spec, family, head)
    layout = stored_layout(family, spec, manifest)
    if head is not None:
        spec, layout = with_head(checkpoint, spec, layout, head)
    facts = device_facts(settings.device)
    if facts.is_native:
        check_widths(spec)
    plan = make_plan(settings, facts, model_shape(checkpoint, manifest, spec, layout, embedding.max_tokens))
    if manifest:
        plan = replace(plan, reasons=(f"{manifest.format}, because the folder holds it", *plan.reasons))
    rotation = rotation_of(spec, layout, plan, manifest)
    return ModelDescription(checkpoint, family, spec, embedding, layout, plan, rotation, manifest, head)


def stored_layout(family: Family, spec: ModelSpec, manifest: Manifest | None) -> Layout:
    """The model's layout; a folder's layout has the sensitive matrices that it had when it was written."""
    layout = family.layout(spec)
    return layout.with_sensitive(manifest.int8_parts) if manifest else layout


def rotation_of(spec: ModelSpec, layout: Layout, plan: Plan, manifest: Manifest | None) -> Rotation | None:
    """The rotation of the weights, or None.

    A folder's weights are rotated if they were written that way; other weights are rotated when they are quantised.
    """
    rotates = manifest.rotated if manifest else plan.format.quantises and layout.can_rotate
    return Rotation(spec.hidden) if rotates else None


def read_shape(path: Path, settings: EngineSettings, task: Task | None = None) -> tuple[ModelShape, EngineSettings]:
    """The shape that the planner needs of a model, and the settings with the folder's format.

    The folder's weights need not be there. Without a task, the architecture implies it. A head of a few rows is not
    counted.

    Raises:
        CheckpointError, UnknownArchitectureError, SettingsError: as in `describe_model`.
    """
    checkpoint, manifest = open_files(path), read_manifest(path)
    if manifest:
        settings = stored_settings(manifest, path, settings)
    family = family_of(checkpoint.config)
    tool = quantised_by(checkpoint.config)
    if tool and path.is_dir() and not any(own_folder(path).glob("*.safetensors")):
        # Where the weights are present, they show whether they are plain after all.
        raise CheckpointError(f"The weights of {path} are quantised by {tool}, which is not read. {REMEDY}")
    head = head_for(checkpoint, task or own_task(checkpoint.config))
    spec = family.spec(checkpoint.config)
    layout = stored_layout(family, spec, manifest)
    if head is not None:
        layout = head.extended(layout, spec, checkpoint.config, lambda _: 0)
    max_tokens = pooling_and_prompts(checkpoint, spec, family, head).max_tokens
    return model_shape(checkpoint, manifest, spec, layout, max_tokens), settings


def shape_of_config(config: Mapping[str, Any]) -> ModelShape:
    """The shape of a model, from its config.json alone. Raises `CheckpointError` and `UnknownArchitectureError`."""
    family = family_of(config)
    spec = family.spec(config)
    return ModelShape(spec, family.layout(spec), spec.max_positions, stored_format(config))


def model_shape(
    checkpoint: ModelFiles, manifest: Manifest | None, spec: ModelSpec, layout: Layout, max_tokens: int
) -> ModelShape:
    tokenizer = tokenizer_path(checkpoint.path)
    return ModelShape(
        spec=spec,
        layout=layout,
        max_tokens=max_tokens,
        # GGUF files and MLX's folders are read as fp32, whatever is in them.
        stored=stored_format(checkpoint.config) if isinstance(checkpoint, Checkpoint) else "fp32",
        tokenizer_bytes=tokenizer.stat().st_size if checkpoint.path.is_dir() and tokenizer.is_file() else None,
        is_quantised=manifest is not None,
        has_plain_table=isinstance(checkpoint, Checkpoint),
    )


def stored_settings(manifest: Manifest, path: Path, settings: EngineSettings) -> EngineSettings:
    """The settings with the folder's format.

    Raises:
        SettingsError: the settings ask for another format.
        CheckpointError: there is no format of the name that the manifest gives.
    """
    if manifest.format not in FORMATS:
        raise CheckpointError(
            f"{path / MANIFEST_FILE} names the format {shown(manifest.format)}; available: {', '.join(FORMATS)}. "
            f"{remedy(manifest.source)}"
        )
    if settings.format not in ("auto", "none", manifest.format):
        raise SettingsError(
            f"format is {settings.format!r}, but {path} holds weights quantised to {manifest.format}. Leave the format "
            f"out, or load {manifest.source} itself.",
            param="format",
        )
    return replace(settings, format=manifest.format)
