"""Any number of texts, one request after another.

In: a request. Out: vectors, all of one space, and what is known of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from farthing.core.errors import UpstreamFailedError
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.serving.text.vocabulary import Unknown

REQUEST_TEXTS = 1024  # whose parts are asked for side by side


def encode_all(
    embed: Callable[[EmbedRequest], EmbedResult], wanted: EmbedRequest, *, show_progress: bool
) -> EmbedResult:
    """Raises what `embed` raises, and `UpstreamFailedError` when the weights behind it change on the way."""
    texts = wanted.inputs
    if not texts:
        return embed(wanted)
    found: list[EmbedResult] = []
    with tqdm(total=len(texts), unit=" texts", disable=not show_progress, dynamic_ncols=True) as bar:
        for start in range(0, len(texts), REQUEST_TEXTS):
            part = texts[start : start + REQUEST_TEXTS]
            result = embed(replace(wanted, inputs=part))
            if found and result.space.id != found[0].space.id:
                raise UpstreamFailedError("The server that computes this model has changed its weights. Try again.")
            found.append(result)
            bar.update(len(part))
    return joined(found)


def joined(results: list[EmbedResult]) -> EmbedResult:
    """Of consecutive texts."""
    starts = range(0, len(results) * REQUEST_TEXTS, REQUEST_TEXTS)
    parts = list(zip(starts, results, strict=True))
    return replace(
        results[0],
        vectors=np.concatenate([result.vectors for result in results]),
        num_tokens=sum(result.num_tokens for result in results),
        num_computed_tokens=sum(result.num_computed_tokens for result in results),
        truncated=tuple(start + index for start, result in parts for index in result.truncated),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
        text_tokens=tuple(number for result in results for number in result.text_tokens),
        unknown=Unknown(tuple(start + index for start, result in parts for index in result.unknown.texts)),
        errors={start + index: error for start, result in parts for index, error in result.errors.items()},
    )
