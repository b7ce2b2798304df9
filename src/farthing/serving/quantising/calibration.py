"""The texts that a model is calibrated with before it is rounded, and those on which its closeness is measured then.

In: what the caller asked for. Out: token ids for `farthing.engine.weights.calibrate`, and texts that are not among
them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import field

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.engine.describe import ModelDescription
from farthing.engine.plan.device import device_facts
from farthing.engine.weights.calibration_memory import calibration_problem
from farthing.quant.format import CalibratedFormat
from farthing.serving.quantising.closeness import sample_texts, split_sample
from farthing.serving.text.tokenizer import open_tokenizer

SAMPLE = "built-in sample"
MAX_TOKENS = 8192  # of all texts, which are one batch
MAX_TEXT_TOKENS = 512  # of one text, so that a few long texts are not all that is seen

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationTexts:
    """The caller's own texts; `name` says in the manifest what they are."""

    name: str
    texts: Sequence[str]


@dataclass(frozen=True)
class Calibration:
    """
    Attributes:
        tokens: texts as token ids; empty where nothing is calibrated.
        facts: what the manifest says about them.
        measured: texts on which closeness is measured.
        most_measured_tokens: how many tokens these may have together; longer ones are cut.
    """

    tokens: Sequence[Sequence[int]] = ()
    facts: dict[str, str | int] | None = None
    measured: Sequence[str] = field(default_factory=sample_texts)
    most_measured_tokens: int | None = None


def choose_calibration(
    description: ModelDescription, calibrate: bool | None, given: CalibrationTexts | None
) -> Calibration:
    """Decide whether to calibrate, and choose the texts.

    With `calibrate` None, the model is calibrated if its format can be and it is soon done in the memory there is. With
    `given` None, built-in texts are used.

    Raises:
        SettingsError: calibrating was asked for, and cannot be done.
    """
    if given is not None and calibrate is False:
        raise SettingsError("There are texts to calibrate with, and calibrating is off.", param="calibration")
    is_asked = calibrate or given is not None
    if not is_asked and (calibrate is False or not isinstance(description.plan.format, CalibratedFormat)):
        return Calibration()
    name, (texts, measured) = SAMPLE, split_sample()
    if given is not None:
        name, texts, measured = given.name, list(given.texts), sample_texts()
    tokens = cut(description, texts)
    num_tokens = sum(map(len, tokens))
    problem = calibration_problem(description, num_tokens, device_facts("cpu").free_bytes, is_asked=is_asked)
    if problem is None:
        return Calibration(tokens, {"texts": name, "num_texts": len(tokens), "num_tokens": num_tokens}, measured)
    if is_asked:
        raise SettingsError(problem, param="calibrate")
    logger.warning("%s", problem)
    return Calibration()


def cut(description: ModelDescription, texts: Sequence[str]) -> list[list[int]]:
    """The texts as token ids, in order, as many as fit into `MAX_TOKENS`."""
    tokenizer = open_tokenizer(description)
    longest = min(MAX_TEXT_TOKENS, description.plan.context_length)
    found, room = list[list[int]](), MAX_TOKENS
    for ids in tokenizer.encode(texts):
        kept = tokenizer.truncate(ids, longest)
        if kept and len(kept) <= room:
            found.append(kept)
            room -= len(kept)
    return found
