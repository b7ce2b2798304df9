from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from farthing.core.errors import SettingsError
from farthing.core.settings import (
    GROUPS,
    Checked,
    EngineSettings,
    ServerSettings,
    ServingSettings,
    SourceSettings,
    TelemetrySettings,
    UpstreamSettings,
)

FIELDS = [(kind, item) for kind in GROUPS for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
BY_NAME = pytest.mark.parametrize(("kind", "item"), FIELDS, ids=[item.name for _, item in FIELDS])


@BY_NAME
def test_every_setting_has_a_help_text(kind: type[Checked], item: dataclasses.Field[Any]) -> None:
    text = item.metadata["help"]
    assert text.endswith((".", ")."))
    assert text[0].isupper()
    assert text.isascii()


@BY_NAME
def test_every_limit_and_choice_admits_the_default(kind: type[Checked], item: dataclasses.Field[Any]) -> None:
    assert getattr(kind(), item.name) == item.default


@BY_NAME
def test_no_setting_can_be_changed_afterwards(kind: type[Checked], item: dataclasses.Field[Any]) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), item.name, item.default)


@BY_NAME
def test_every_setting_refuses_a_value_of_another_type(kind: type[Checked], item: dataclasses.Field[Any]) -> None:
    with pytest.raises(SettingsError, match=rf"{item.name} is (1\.5j|\*\*\*); it must be (a|true)") as caught:
        kind(**{item.name: 1.5j})
    assert caught.value.param == item.name


@BY_NAME
def test_only_a_setting_that_is_unset_by_default_may_be_none(kind: type[Checked], item: dataclasses.Field[Any]) -> None:
    if item.default is None:
        assert getattr(kind(**{item.name: None}), item.name) is None
    else:
        with pytest.raises(SettingsError, match=f"{item.name} is None; it must be (a|true)"):
            kind(**{item.name: None})


def test_names_and_flags_are_unique_over_all_groups() -> None:
    spellings = Counter[str]()
    for _, item in FIELDS:
        spellings.update([f"--{item.name.replace('_', '-')}", *item.metadata["flags"]])
    assert [spelling for spelling, count in spellings.items() if count > 1] == []


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (EngineSettings, {"format": "int3"}, "format is 'int3'; available: auto, none, fp32"),
        (EngineSettings, {"max_batch_tokens": 0}, "max_batch_tokens is 0; it must be a whole number of at least 1"),
        (EngineSettings, {"max_batch_tokens": "9"}, "max_batch_tokens is '9'; it must be a whole number"),
        (EngineSettings, {"max_batch_tokens": True}, "max_batch_tokens is True; it must be a whole number"),
        (
            EngineSettings,
            {"tensor_parallel_size": 2},
            "tensor_parallel_size is 2; it must be a whole number of at most 1",
        ),
        (EngineSettings, {"max_batch_tokens": 1.5}, "max_batch_tokens is 1.5; it must be a whole number"),
        (EngineSettings, {"memory": "6"}, "memory is '6'; it must be a size such as 6GB or 900MiB, or auto, or none"),
        (EngineSettings, {"memory": "0GB"}, "memory is '0GB'; it must be a size"),
        (EngineSettings, {"residency": "ram"}, "residency is 'ram'; available: auto, resident, host, disk"),
        (EngineSettings, {"min_fidelity": 1.5}, "min_fidelity is 1.5; it must be a number of at most 1"),
        (EngineSettings, {"min_fidelity": float("nan")}, "min_fidelity is nan; it must be a number of at least 0"),
        (EngineSettings, {"min_fidelity": True}, "min_fidelity is True; it must be a number"),
        (ServingSettings, {"truncate": "no"}, "truncate is 'no'; it must be true or false"),
        (ServingSettings, {"min_chars": -1}, "min_chars is -1; it must be a whole number of at least 0"),
        (ServerSettings, {"port": 65536}, "port is 65536; it must be a whole number of at most 65535"),
        (SourceSettings, {"offline": 1}, "offline is 1; it must be true or false"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(
    kind: type[Checked], values: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        kind(**values)
    assert str(caught.value).startswith(message)
    assert caught.value.param == next(iter(values))


def test_limits_themselves_are_allowed() -> None:
    assert ServerSettings(port=0).port == 0
    assert ServerSettings(port=65535).port == 65535
    assert ServingSettings(min_chars=0).min_chars == 0


def test_a_collector_is_named_by_a_url() -> None:
    with pytest.raises(SettingsError, match="must be a URL such as http://localhost:4318"):
        TelemetrySettings(otlp_endpoint="localhost:4318")


@pytest.mark.parametrize("url", ["", " , ", "host:80", "ftp://host", "http://", "http://host:port", "http://a,b"])
def test_an_upstream_that_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError, match="it must be a URL such as http://host:8000/v1"):
        UpstreamSettings(upstream=url)


def test_the_password_of_an_upstream_stands_in_no_message() -> None:
    with pytest.raises(SettingsError, match=r"'http://\*\*\*@host:port'"):
        UpstreamSettings(upstream="http://me:secret@host:port")
