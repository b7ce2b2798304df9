"""A request's inputs as they are sent to upstreams: made fit, and split into requests of their own.

In: texts and token ids as clients send them. Out: chunks, which know the inputs' places. The answers are handled in
`farthing.upstream.embedder`.
"""

from __future__ import annotations

from collections.abc import Sequence

from farthing.core.deferred import dataclass
from farthing.core.errors import EmptyInputError, InputError
from farthing.core.settings import ServingSettings
from farthing.serving.text.clean import fit_text

CHARS_PER_TOKEN = 4  # where an upstream does not say how many tokens there were
Input = str | Sequence[int]


@dataclass(frozen=True)
class Chunk:
    """Inputs as they are sent, and their places in the request."""

    inputs: Sequence[Input]
    places: Sequence[int]

    @property
    def weight(self) -> int:
        return sum(map(weight_of, self.inputs))

    def halves(self) -> list[Chunk]:
        """The two halves of the chunk, the second one first."""
        middle = len(self.inputs) // 2
        return [
            Chunk(self.inputs[middle:], self.places[middle:]),
            Chunk(self.inputs[:middle], self.places[:middle]),
        ]


def weight_of(item: Input) -> int:
    """The approximate number of characters of an input."""
    return len(item) if isinstance(item, str) else CHARS_PER_TOKEN * len(item)


def generous_tokens(text: str) -> int:
    """The estimated number of tokens of a text, rather too large than too small.

    Three letters of ASCII, or one of any other script, count as a token.
    """
    num_ascii = len(text.encode("ascii", "ignore"))
    return -(-num_ascii // 3) + len(text) - num_ascii


def fit_input(
    item: Input, index: int, prefix: str, serving: ServingSettings, *, is_clean: bool = False
) -> str | list[int] | None:
    """The input as it is sent; None where a zero vector is the answer.

    With `is_clean`, a text has been through `fit_text` already.

    Raises:
        InputError: the input cannot be sent; `index` is its place in the request, for the message.
    """
    if isinstance(item, str):
        text = item if is_clean else fit_text(item, index, serving, len(prefix))
        return None if text is None else prefix + text
    if prefix:
        raise InputError(
            f"Text {index} is given as token ids, before which no prompt can be put here: this model's tokenizer "
            "is on another server. Send texts, or leave the prompt out.",
            param=f"input[{index}]",
        )
    if not item:
        raise EmptyInputError(f"Text {index} is an empty list of token ids.", param=f"input[{index}]")
    return list(item)


def split(items: Sequence[str | list[int] | None], size: int) -> list[Chunk]:
    """Split inputs into chunks of at most `size`; texts and token ids do not mix in one request of OpenAI's API."""
    chunks = []
    for kind in (str, list):
        kept = [(index, item) for index, item in enumerate(items) if isinstance(item, kind)]
        parts = (kept[start : start + size] for start in range(0, len(kept), size))
        chunks += [Chunk([item for _, item in part], [index for index, _ in part]) for part in parts]
    return chunks
