"""Texts as they come in made fit for a tokenizer.

Removed: byte-order marks and characters without width that only copy-and-paste leaves behind. Kept: the joiners that
mean something, between emoji and in scripts that use them (Persian, Indic). Lone surrogates are refused: they are not
text, and what a tokenizer makes of them differs by version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from farthing.core.errors import EmptyInputError, InvalidTextError, TextTooLargeError, TextTooShortError
from farthing.core.settings import ServingSettings

Input = str | Sequence[int]

# Zero width space, word joiner, byte-order mark, Mongolian vowel separator; and a (non-)joiner that stands beside ASCII
# or at an end of the text, where there is nothing for it to join.
INVISIBLE = re.compile(
    "[\u200b\u2060\ufeff\u180e]+|(?:^|(?<=[\x00-\x7f]))[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\x7f]|$)"
)
SURROGATE = re.compile("[\ud800-\udfff]")


def clean_text(text: str, index: int, max_chars: int) -> str:
    """The text without invisible debris; `index` is its place in the request, for the message.

    Raises:
        InvalidTextError: the text holds a lone surrogate.
        TextTooLargeError: it has more than `max_chars` characters.
    """
    return clean_named(text, f"Text {index}", f"input[{index}]", max_chars)


def clean_named(text: str, name: str, param: str, max_chars: int) -> str:
    """As `clean_text`; `name` is what the message calls the text."""
    if len(text) > max_chars:
        raise TextTooLargeError(
            f"{name} has {len(text)} characters; at most {max_chars} are taken. Split it, or set a larger "
            "max_text_chars.",
            param=param,
        )
    if text.isascii():  # nothing of what follows is
        return text
    found = SURROGATE.search(text)
    if found:
        raise InvalidTextError(
            f"{name} is not valid Unicode: a lone surrogate U+{ord(found.group()):04X} at character "
            f"{found.start()}. Send UTF-8, and do not cut texts inside a character.",
            param=param,
        )
    return INVISIBLE.sub("", text)


def fit_text(text: str, index: int, settings: ServingSettings) -> str | None:
    """As `clean_text`, and long enough; None where the settings make a zero vector the answer.

    Raises:
        InvalidTextError: the text holds a lone surrogate.
        TextTooShortError: it has too few characters, and the settings refuse that.
    """
    text = clean_text(text, index, settings.max_text_chars)
    num_chars = len(text.strip())
    if num_chars >= settings.min_chars or settings.short_text == "embed":
        return text
    if settings.short_text == "zero":
        return None
    raise TextTooShortError(
        f"Text {index} has {num_chars} visible characters; at least {settings.min_chars} are needed. Leave "
        "it out, or set short_text to zero (zero vectors) or embed.",
        param=f"input[{index}]",
    )


def clean_input(item: Input, index: int, settings: ServingSettings) -> Input | None:
    """An input as it goes on; None where a zero vector is the answer. Raises `InputError`."""
    if not isinstance(item, str):
        if len(item) == 0:
            raise EmptyInputError(f"Text {index} is an empty list of token ids.", param=f"input[{index}]")
        return item
    return fit_text(item, index, settings)
