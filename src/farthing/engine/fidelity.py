"""Whether a folder of quantised weights is close enough to the exact model to be used."""

from __future__ import annotations

import logging

from farthing.checkpoint.files import ModelFiles
from farthing.checkpoint.manifest import Manifest
from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings
from farthing.models.config import is_synthetic

log = logging.getLogger(__name__)


def check_fidelity(manifest: Manifest, checkpoint: ModelFiles, settings: EngineSettings) -> None:
    """Raise `SettingsError` when the measured mean cosine is under the floor; synthetic checkpoints may be under it."""
    if settings.min_fidelity == 0 or is_synthetic(checkpoint.config):
        return
    if manifest.closeness is None:
        log.warning(
            "How close %s is to the exact model was not measured. farthing quantize measures it.", checkpoint.path
        )
        return
    cosine = manifest.closeness["cosine_mean"]
    if cosine < settings.min_fidelity:
        raise SettingsError(
            f"{checkpoint.path} has a mean cosine of {cosine:.4f} to the exact model, and min_fidelity is "
            f"{settings.min_fidelity}. Load {manifest.source} itself, or lower min_fidelity to accept it.",
            param="min_fidelity",
        )
