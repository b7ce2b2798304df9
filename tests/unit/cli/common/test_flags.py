from __future__ import annotations

import pytest

from farthing.cli.common.flags import in_flags
from farthing.core.errors import InputError, TextTooLongError
from farthing.core.settings import ServingSettings
from farthing.serving.text.clean import fit_text


def test_what_a_text_needs_is_said_with_flags() -> None:
    with pytest.raises(InputError) as error:
        fit_text("", 0, ServingSettings())
    assert in_flags(str(error.value)).endswith("or give --short-text zero (zero vectors) or embed.")
    with pytest.raises(InputError) as error:
        fit_text("a" * 11, 0, ServingSettings(max_text_chars=10), prompt_chars=5)
    assert "give a larger --max-text-chars" in in_flags(str(error.value))
    assert in_flags(str(TextTooLongError(0, 600, 512))).endswith("or allow truncation (--truncate).")


def test_other_words_stay_as_they_are() -> None:
    for message in ("set input_type to query", "short_text is 'drop'; available: error", "the truncate setting", ""):
        assert in_flags(message) == message
