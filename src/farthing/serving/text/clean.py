"""Makes incoming texts fit for a tokenizer.

Removed are byte-order marks and characters without width that only copy-and-paste leaves behind. Kept are the joiners
that mean something, between emoji and in scripts that use them (Persian, Indic). Lone surrogates are refused: they are
not text, and tokenizers treat them differently from version to version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Sized

from farthing.core.errors import (
    EmptyInputError,
    InputError,
    InvalidTextError,
    TextTooLargeError,
    TextTooShortError,
    shown,
)
from farthing.core.settings import ServingSettings

Input = str | Sequence[int]

# Zero width space, word joiner, byte-order mark, Mongolian vowel separator.
INVISIBLE = "\u200b\u2060\ufeff\u180e"
JOINERS = "\u200c\u200d"
# Joiners beside ASCII or at the text's beginning, where there is nothing for them to join. The lookbehinds let a run of
# joiners be tried once, from its beginning, and not from each of its characters.
STRAY = re.compile(f"(?:^|(?<=[\x00-\x7f]))[{JOINERS}]+|(?<![{JOINERS}])[{JOINERS}]+(?=[\x00-\x7f])")
JOINER_RUN = re.compile(f"[{JOINERS}]*")
SURROGATE = re.compile("[\ud800-\udfff]")
# Characters that are searched for joiners at once, which takes two milliseconds. The interpreter's lock is held
# meanwhile, and a thread that answers another request needs it several times.
PIECE_CHARS = 2**13


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
    if text.isascii():  # nothing that is removed or refused below is ASCII
        return text
    found = SURROGATE.search(text)
    if found:
        raise InvalidTextError(
            f"{name} is not valid Unicode: a lone surrogate U+{ord(found.group()):04X} at character "
            f"{found.start()}. Send UTF-8, and do not cut texts inside a character.",
            param=param,
        )
    return without_invisible(text)


def without_invisible(text: str) -> str:
    """The text without invisible characters. Whatever it holds, this takes time in proportion to its length."""
    if any(joiner in text for joiner in JOINERS):  # first, because their neighbours in the text as it came count
        text = without_stray_joiners(text)
    for character in INVISIBLE:
        text = text.replace(character, "")
    return text


def without_stray_joiners(text: str) -> str:
    """The text without stray joiners; it is searched in pieces, none of which ends within a run of joiners."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        before = text[start - 1 : start].strip(JOINERS)
        piece = text[start : start + PIECE_CHARS].rstrip(JOINERS)
        pieces.append(STRAY.sub("", before + piece)[len(before) :])
        run_start = start + len(piece)
        run = JOINER_RUN.match(text, run_start)
        assert run is not None, "it matches nothing, too"
        start = run.end()
        is_between = run_start > 0 and start < len(text)
        if is_between and not (text[run_start - 1].isascii() or text[start].isascii()):
            pieces.append(run.group())
    return "".join(pieces)


def fit_text(text: str, index: int, settings: ServingSettings, prompt_chars: int = 0) -> str | None:
    """The text as `clean_text` returns it, if it is long enough; None where the settings make a zero vector the answer.

    Args:
        prompt_chars: characters of the prompt that goes before the text.

    Raises:
        InvalidTextError: the text holds a lone surrogate.
        TextTooLargeError: it has too many characters, with the prompt.
        TextTooShortError: it has too few characters, and the settings refuse that.
    """
    most = settings.max_text_chars
    if not (len(text) <= most and text.isascii()):  # else there is nothing to clean
        text = clean_named(text, f"Text {index}", f"input[{index}]", most)
    if len(text) + prompt_chars > most:
        raise TextTooLargeError(
            f"Text {index} has {len(text)} characters and the prompt before it {prompt_chars}; at most "
            f"{most} are taken in all. Shorten either, or set a larger max_text_chars.",
            param=f"input[{index}]",
        )
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


def as_inputs(texts: object) -> list[Input]:
    """The inputs that a program gave to be embedded, one or several, as a list.

    Raises `InputError` for an input that is neither a text nor a list of token ids.
    """
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, Iterable) or isinstance(texts, (bytes, Mapping)):
        raise InputError(f"texts is {shown(texts)}; it must be a text (str) or a list of texts.", param="input")
    inputs = list(texts)
    for index, item in enumerate(inputs):
        if not isinstance(item, str) and (not isinstance(item, Sized) or isinstance(item, (bytes, Mapping))):
            raise InputError(
                f"Text {index} is {shown(item)}; it must be a text (str), or a list of token ids.",
                param=f"input[{index}]",
            )
    return inputs


def clean_input(item: Input, index: int, settings: ServingSettings, prompt_chars: int = 0) -> Input | None:
    """An input made ready to be tokenised; None where a zero vector is the answer. Raises `InputError`.

    `prompt_chars` is the number of characters of the prompt that goes before it.
    """
    if not isinstance(item, str):
        if len(item) == 0:
            raise EmptyInputError(f"Text {index} is an empty list of token ids.", param=f"input[{index}]")
        if len(item) > settings.max_text_chars:
            raise TextTooLargeError(
                f"Text {index} has {len(item)} token ids; at most {settings.max_text_chars} are taken. Split it, or "
                "set a larger max_text_chars.",
                param=f"input[{index}]",
            )
        return item
    return fit_text(item, index, settings, prompt_chars)
