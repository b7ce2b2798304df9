"""Any number of texts, one request after another.

In: texts, and a request without them. Out: their vectors, all of one space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from farthing.core.errors import UpstreamFailedError
from farthing.serving.request import EmbedRequest, EmbedResult

REQUEST_TEXTS = 1024  # whose parts are asked for side by side


def encode_all(
    embed: Callable[[EmbedRequest], EmbedResult], texts: Sequence[str], wanted: EmbedRequest, *, show_progress: bool
) -> list[np.ndarray]:
    """Vectors of the texts, in order: float32 [some of the texts, dimensions] each.

    Raises what `embed` raises, and `UpstreamFailedError` when the weights behind it change on the way.
    """
    found: list[np.ndarray] = []
    space = None
    with tqdm(total=len(texts), unit=" texts", disable=not show_progress, dynamic_ncols=True) as bar:
        for start in range(0, len(texts), REQUEST_TEXTS):
            part = texts[start : start + REQUEST_TEXTS]
            result = embed(replace(wanted, inputs=part))
            space = space or result.space.id
            if result.space.id != space:
                raise UpstreamFailedError("The server that computes this model has changed its weights. Try again.")
            found.append(result.vectors)
            bar.update(len(part))
    return found
