"""How close a quantised model's vectors are to the exact model's, on a built-in sample of texts.

In: the folder of the exact model, and the quantised model. Out: cosines, and how many nearest neighbours stay. The
sample holds short texts in fifteen languages, code and fragments, and one long text of each kind. It shows how much
rounding moves vectors, not how well they retrieve: that takes labelled data of one's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.runner import Runner
from farthing.engine.weights.load import LoadedModel, load_weights
from farthing.models.forward.heads import Task
from farthing.serving.text.tokenizer import open_tokenizer

OnTexts = Callable[[int, int], object]
NUM_NEIGHBOURS = 10
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Closeness:
    """
    Attributes:
        cosine_mean, cosine_min: mean and least cosine of each text's two vectors.
        neighbours_kept: share of each text's `NUM_NEIGHBOURS` nearest by the exact model that are among the nearest by
            the other, 0 to 1.
    """

    cosine_mean: float
    cosine_min: float
    neighbours_kept: float
    num_texts: int


def measure_closeness(
    exact: Path,
    quantised: LoadedModel,
    texts: Sequence[str],
    on_texts: OnTexts = lambda *_: None,
    most_tokens: int | None = None,
) -> Closeness:
    """Embed the texts with both models; the exact one runs in fp32, layer by layer, in the memory of one layer.

    For models with a head it compares the rows that the head reads. `on_texts` is called now and then with the number
    of texts that are embedded and the number of all; each text is embedded twice. Where the texts have more than
    `most_tokens` together, the longest are cut, to the same length.

    Raises:
        ModelError: `exact` holds no whole model.
        NonFiniteError: a text has no vector.
    """
    settings = EngineSettings(
        format="fp32",
        residency="disk",
        memory="none",
        device=quantised.plan.device,
        num_threads=quantised.plan.num_threads,
    )
    task: Task = "embed" if quantised.head is None else "rerank"
    reference = load_weights(describe_model(exact, settings, task)).without_head()
    sample = tokenized(reference, texts, most_tokens)
    num = len(sample)
    on_texts(0, 2 * num)
    rows = embed(reference, sample, lambda num_done: on_texts(num_done, 2 * num))
    return compare(rows, embed(quantised.without_head(), sample, lambda num_done: on_texts(num + num_done, 2 * num)))


def in_words(closeness: Mapping[str, float] | None) -> str:
    """One line about what `asdict` makes of a `Closeness`; None means that nobody measured."""
    if closeness is None:
        return "not measured"
    return (
        f"mean cosine {closeness['cosine_mean']:.4f}, least {closeness['cosine_min']:.4f}, "
        f"{closeness['neighbours_kept']:.1%} of neighbours kept ({closeness['num_texts']} texts)"
    )


def sample_texts() -> list[str]:
    """Every short text, then one long text of each language or kind: its short texts one behind the other."""
    return with_long_ones(sample_groups())


def quick_sample() -> list[str]:
    """A quarter of the short texts and one long one, about 1,100 tokens: for a start that somebody waits for."""
    groups = sample_groups()
    short = [text for group in groups for text in group]
    return [*short[::4], " ".join(groups[0])]


def split_sample() -> tuple[list[str], list[str]]:
    """Two parts of the sample, two thirds and one third, that share no sentence in any language."""
    groups = sample_groups()
    thirds = [[group[first::3] for group in groups] for first in range(3)]
    rest = [first + second for _, first, second in zip(*thirds, strict=True)]
    return with_long_ones(rest), with_long_ones(thirds[0])


def sample_groups() -> list[list[str]]:
    """The short texts of each language or kind; those of the languages say the same in the same order."""
    from importlib.resources import files  # for a sample that few need

    groups: dict[str, list[str]] = json.loads(
        files("farthing.serving").joinpath("closeness_sample.json").read_text(encoding="utf-8")
    )
    return list(groups.values())


def with_long_ones(groups: Sequence[list[str]]) -> list[str]:
    return [text for group in groups for text in group] + [" ".join(group) for group in groups]


def tokenized(model: LoadedModel, texts: Sequence[str], most_tokens: int | None = None) -> list[list[int]]:
    """The texts as the model's token ids, cut to its context, and the longest so far that all have `most_tokens`."""
    tokenizer = open_tokenizer(model.description)
    found = tokenizer.encode(texts)
    longest = min(model.plan.context_length, max(map(len, found)))
    while most_tokens is not None and longest > 1 and sum(min(len(ids), longest) for ids in found) > most_tokens:
        longest -= 1
    return [tokenizer.truncate(ids, longest) if len(ids) > longest else ids for ids in found]


def embed(
    model: LoadedModel, texts: Sequence[list[int]], on_batch: Callable[[int], object] = lambda _: None
) -> np.ndarray:
    """The unit vectors of texts, [texts, hidden] fp32. `on_batch` is called with the number of texts that are done."""
    runner, rows, num_done = Runner(model), [], 0
    for batch in batches(texts):
        output = runner.run(batch)
        for error in output.errors.values():
            raise error
        rows.append(output.rows)
        num_done += len(batch)
        on_batch(num_done)
    vectors = np.concatenate(rows)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def batches(texts: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Yield consecutive texts with at most `BATCH_TOKENS` together, or one longer text."""
    batch: list[list[int]] = []
    for text in texts:
        if batch and sum(map(len, batch)) + len(text) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(text)
    yield batch


def compare(exact: np.ndarray, other: np.ndarray) -> Closeness:
    """The closeness of two models by their unit vectors of the same texts, both [texts, hidden]."""
    cosines = np.einsum("ij,ij->i", exact, other)
    kept = [len(a & b) / len(a) for a, b in zip(neighbours(exact), neighbours(other), strict=True)]
    return Closeness(float(cosines.mean()), float(cosines.min()), float(np.mean(kept)), len(cosines))


def neighbours(vectors: np.ndarray) -> list[set[int]]:
    """The indices of each row's nearest other rows."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, : min(NUM_NEIGHBOURS, len(vectors) - 1)]
    return [set(row.tolist()) for row in nearest]
