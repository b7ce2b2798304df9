"""Runs batches through the model: token ids in, one fp32 row for each text, or for each token, out.

A row with NaN or Inf (half precision overflows for some inputs) is computed again in fp32. If that fails too, the text
is reported; a vector of nulls is never returned. This module knows nothing of queues, prompts, dimensions or
normalisation.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from farthing.core.arrays import Array
from farthing.core.deferred import dataclass
from farthing.core.errors import NonFiniteError, OutOfMemoryError
from farthing.engine.memory import Trimmer
from farthing.engine.plan.prefix_memory import held_token_bytes
from farthing.engine.prefix_cache import PrefixCache
from farthing.engine.weights.load import LoadedModel, release_cached
from farthing.models.batch.forest import Forest, batch_forest, distinct_forest
from farthing.models.batch.packed import PackedBatch, pack, pack_forest
from farthing.models.forward.heads import checked_logits
from farthing.models.forward.pooling import rows_of_tokens

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchOutput:
    """
    Attributes:
        rows: [texts, hidden] float32, in the caller's order; pooled, neither cut nor normalised. For a model with a
            head [texts, 1], logits. For a batch per token a ragged array, [texts] of objects, each [tokens, hidden]
            float32.
        errors: the errors of texts that have no vector, by index; the rows of these texts are meaningless.
        num_recomputed: the number of texts that were computed again in fp32.
        fingerprint: of the weights that made the rows; rows of different weights must not be compared.
        computed: the number of tokens computed for each text; shared tokens count for the first of their texts alone.
    """

    rows: np.ndarray
    errors: dict[int, NonFiniteError]
    num_recomputed: int
    fingerprint: str
    computed: tuple[int, ...]


class Runner:
    def __init__(self, model: LoadedModel) -> None:
        self._model, self._computing = model, model.computing
        self._prefixes = None
        if model.description.shares_prefixes:
            self._prefixes = PrefixCache(model.plan.prefix_bytes, held_token_bytes(model.spec, model.plan))
        self._trimmer = Trimmer()

    def limit_prefixes(self, num_bytes: int) -> None:
        """Hold at most `num_bytes` of prefixes from one batch to the next."""
        if self._prefixes is not None:
            self._prefixes.limit(num_bytes)

    def run(self, texts: Sequence[Sequence[int]], per_token: bool = False) -> BatchOutput:
        """Compute a batch. Each text is given as token ids, at least one, special tokens included.

        With `per_token`, the rows are the model's last hidden states, one for every token; nothing is pooled.

        Raises:
            OutOfMemoryError: the batch needs more memory than there is; memory that was kept for later is given back.
        """
        try:
            output = self._run(texts, per_token)
            self._trimmer.after_batch()
            return output
        except MemoryError as error:
            failure = OutOfMemoryError(out_of_memory_message(texts))
            # `error` is not raised as the cause: its traceback would keep the batch's arrays alive.
            logger.warning("%s (%s)", failure, error)
        release_cached(self._model.plan)
        raise failure

    def _run(self, texts: Sequence[Sequence[int]], per_token: bool) -> BatchOutput:
        self._computing.rouse()
        forest = self._forest(texts, per_token)
        rows = self._forward(pack_forest(forest, per_token=per_token))
        if self._prefixes is not None:
            self._prefixes.keep(forest)
        bad = non_finite(rows)
        again = [] if self._computing.is_exact else bad
        if again:
            packed = pack([texts[index] for index in again], per_token=per_token)
            rows[again] = self._forward(packed, exactly=True)
            bad = non_finite(rows)
        errors = {
            index: NonFiniteError(
                f"The model gave NaN or Inf for a text of {len(texts[index])} tokens, in fp32 too. "
                "The checkpoint may be damaged.",
                param="input",
            )
            for index in bad
        }
        return BatchOutput(
            rows,
            errors,
            num_recomputed=len(again),
            fingerprint=self._model.fingerprint,
            computed=forest.computed(),
        )

    def _forest(self, texts: Sequence[Sequence[int]], per_token: bool) -> Forest:
        if self._prefixes is None:
            return distinct_forest(texts)
        return batch_forest(texts) if per_token else self._prefixes.forest(texts)

    def _forward(self, batch: PackedBatch, *, exactly: bool = False) -> Array:
        """The rows of a batch as in `BatchOutput.rows`, in the caller's order."""
        rows = self._computing.rows(batch, exactly=exactly)
        if batch.token_rows is not None:
            return rows_of_tokens(rows, batch.token_rows)
        if self._model.head is not None:
            rows = checked_logits(self._model.head, rows, self._computing.shared)
        return np.asarray(rows[batch.text_rows])


def out_of_memory_message(texts: Sequence[Sequence[int]]) -> str:
    if len(texts) > 1:
        return f"A batch of {len(texts)} texts, {sum(map(len, texts)):,} tokens, needs more memory than there is."
    return (
        f"A text of {len(texts[0]):,} tokens needs more memory than there is now. Send it in parts, or again later; a "
        "lower context_length refuses such texts at once."
    )


def non_finite(rows: np.ndarray) -> list[int]:
    """The indices of rows that hold NaN or Inf, in an array [n, hidden] or a ragged one."""
    if rows.dtype == object:
        return [index for index, text in enumerate(rows) if not np.isfinite(text).all()]
    numbers = rows.reshape(-1)
    if math.isfinite(np.vdot(numbers, numbers)):  # it is not where a number is not, or where it overflows
        return []
    return [int(index) for index in np.flatnonzero(~np.isfinite(rows).all(axis=1))]
