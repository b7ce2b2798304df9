from __future__ import annotations

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import QUANTISED_FORMATS, EngineSettings
from farthing.quant.formats import FORMATS, weight_format


def test_a_format_is_found_by_its_name() -> None:
    assert [weight_format(name).name for name in FORMATS] == list(FORMATS)


def test_an_unknown_format_is_answered_with_those_there_are() -> None:
    with pytest.raises(SettingsError) as caught:
        weight_format("int3")
    assert str(caught.value) == "Unknown weight format 'int3'; available: fp32, bf16, fp16, int8, nf4, fp8"
    assert caught.value.param == "format"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_asked_for_in_the_settings(name: str) -> None:
    assert EngineSettings(format=name).format == name


def test_what_can_be_quantised_to_is_what_the_settings_name() -> None:
    assert tuple(name for name, form in FORMATS.items() if form.quantises) == QUANTISED_FORMATS
