"""Moving a live model to a rung of its ladder; weights that are rounded on the way must stay close to the exact ones.

In: a rung. Out: whether the model now runs as it says. How close is measured on a few texts of the built-in sample,
with the model's own weights, while batches wait.
"""

from __future__ import annotations

import logging

import numpy as np

from farthing.engine.ladder import Rung
from farthing.engine.swappable import LiveModel
from farthing.models.synth.checkpoint import is_synthetic
from farthing.serving.quantising.closeness import compare, sample_texts
from farthing.serving.text.tokenizer import TextTokenizer

logger = logging.getLogger(__name__)

NUM_TEXTS = 32  # of the sample: seconds, where all of it would take minutes


class Mover:
    """`min_fidelity`: the least mean cosine to the vectors as planned; synthetic weights may be under it."""

    def __init__(self, live: LiveModel, tokenizer: TextTokenizer, min_fidelity: float) -> None:
        self._live, self._tokenizer = live, tokenizer
        self._min_fidelity = 0.0 if is_synthetic(live.description.checkpoint.config) else min_fidelity
        self._reference: np.ndarray | None = None  # [texts, hidden], of the weights before any was rounded

    def __call__(self, rung: Rung) -> bool:
        """Raises what `LiveModel.move` raises."""
        if rung.keeps_vectors or self._min_fidelity == 0:
            self._live.move(rung.plan)
            return True
        with self._live.exclusive():
            before = self._live.plan
            if self._reference is None:
                self._reference = self._unit_vectors()
            self._live.move(rung.plan)
            cosine = compare(self._reference, self._unit_vectors()).cosine_mean
            if cosine >= self._min_fidelity:
                logger.warning(
                    "Weights in %s have a mean cosine of %.4f to those as planned.", rung.plan.format.name, cosine
                )
                return True
            logger.warning(
                "Weights in %s would have a mean cosine of %.4f, under the least of %.4f (min_fidelity), and are not "
                "used.",
                rung.plan.format.name,
                cosine,
                self._min_fidelity,
            )
            self._live.move(before)
            return False

    def _unit_vectors(self) -> np.ndarray:
        """[texts, hidden]"""
        texts = sample_texts()
        sample = self._tokenizer.encode(texts[:: max(1, len(texts) // NUM_TEXTS)])
        cut = [self._tokenizer.truncate(ids, self._live.plan.context_length) for ids in sample]
        rows = np.concatenate([self._live.run([text]).rows for text in cut])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
