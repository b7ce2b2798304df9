from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.core.errors import SettingsError
from farthing.core.resolve import Resolved, describe, read_config_file, resolve
from farthing.core.settings import (
    GROUPS,
    AccessSettings,
    EngineSettings,
    ServerSettings,
    ServingSettings,
    SourceSettings,
)

# The same setting from each origin, with a value of its own.
ORIGINS: dict[str, dict[str, Any]] = {
    "file": {"file": {"max_batch_tokens": 100}},
    "environment": {"env": {"FARTHING_MAX_BATCH_TOKENS": "200"}},
    "flag": {"flags": {"max_batch_tokens": 300}},
}
VALUES = {"default": None, "file": 100, "environment": 200, "flag": 300}


def engine(**origins: Any) -> EngineSettings:
    return resolve([EngineSettings], **origins).group(EngineSettings)


@pytest.mark.parametrize(
    ("origins", "spelt"),
    [
        ({"file": {"memory_high": 0.5}}, "memory_high (file)"),
        ({"env": {"FARTHING_MEMORY_HIGH": "0.5"}}, "FARTHING_MEMORY_HIGH (environment)"),
        ({"flags": {"memory_high": "0.5"}}, "memory_high (flag)"),
    ],
)
def test_a_setting_that_is_gone_is_passed_over_with_a_warning(
    origins: dict[str, Any], spelt: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert resolve(GROUPS, **origins).lines() == resolve(GROUPS).lines()
    assert f"{spelt} is no setting any more: memory counts as short from 90%" in caplog.text


def message(**origins: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        resolve(GROUPS, **origins)
    return str(caught.value)


@pytest.mark.parametrize("given", [[], ["file"], ["environment"], ["flag"], ["file", "environment"], ["file", "flag"],
                                   ["environment", "flag"], ["file", "environment", "flag"]])  # fmt: skip
def test_flags_win_over_the_environment_over_the_file_over_defaults(given: list[str]) -> None:
    resolved = resolve([EngineSettings], **{key: raw for name in given for key, raw in ORIGINS[name].items()})
    winner = given[-1] if given else "default"
    assert resolved.group(EngineSettings).max_batch_tokens == VALUES[winner]
    assert resolved.origins["max_batch_tokens"] == winner


def test_each_setting_is_merged_for_itself() -> None:
    resolved = resolve(
        [EngineSettings, ServerSettings],
        file={"device": "cpu", "port": 1},
        env={"FARTHING_PORT": "2", "FARTHING_HOST": "::1"},
        flags={"port": 3},
    )
    assert resolved.group(EngineSettings) == EngineSettings(device="cpu")
    assert resolved.group(ServerSettings) == ServerSettings(host="::1", port=3)
    origins = {name: origin for name, origin in resolved.origins.items() if origin != "default"}
    assert origins == {"device": "file", "port": "flag", "host": "environment"}


def test_start_up_lines_name_every_setting_once_with_its_origin() -> None:
    resolved: Resolved = resolve([EngineSettings, SourceSettings], env={"FARTHING_OFFLINE": "yes"})
    lines = resolved.lines()
    assert "offline = True (environment)" in lines
    assert "format = auto (default)" in lines
    assert len(lines) == len(describe(EngineSettings)) + len(describe(SourceSettings))


def test_keys_and_passwords_stand_in_no_start_up_line_message_or_repr() -> None:
    given = {"FARTHING_API_KEY": "hunter2hunter2", "FARTHING_RATE_LIMIT_STORAGE": "redis://me:hunter2@host:6379/0"}
    resolved = resolve([AccessSettings], env=given)
    assert resolved.group(AccessSettings).api_key == "hunter2hunter2"
    assert "api_key = *** (environment)" in resolved.lines()
    assert "rate_limit_storage = redis://***@host:6379/0 (environment)" in resolved.lines()
    assert "api_key = None (default)" in resolve([AccessSettings]).lines()
    assert "api_key=" not in repr(resolved.group(AccessSettings))
    for wrong in (
        message(file={"api_key": 123}),
        message(env={"FARTHING_API_KEY": "hunter 2"}),
        message(flags={"rate_limit_storage": "memcached://me:hunter2@host"}),
    ):
        assert "123" not in wrong
        assert "hunter" not in wrong


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ({"file": {"max_batch_token": 1}}, "Unknown setting max_batch_token (file). Did you mean max_batch_tokens?"),
        (
            {"env": {"FARTHING_DEVCE": "cpu"}},
            "Unknown setting FARTHING_DEVCE (environment). Did you mean FARTHING_DEVICE?",
        ),
        ({"flags": {"devise": "cpu"}}, "Unknown setting devise (flag). Did you mean device?"),
    ],
)
def test_an_unknown_key_names_its_origin_and_the_nearest_known_one(origins: dict[str, Any], expected: str) -> None:
    assert message(**origins) == expected


def test_an_unknown_key_that_is_near_to_nothing_lists_the_known_ones() -> None:
    text = message(file={"zzzzzz": 1})
    assert "Known settings: " in text
    assert ", api_key, api_keys_file, " in text


def test_settings_of_other_commands_are_fine_in_file_and_environment_but_not_as_flags() -> None:
    shared: Mapping[str, Any] = {"file": {"port": 1}, "env": {"FARTHING_LOG_LEVEL": "debug"}}
    assert engine(**shared) == EngineSettings()
    with pytest.raises(SettingsError, match=r"Unknown setting port \(flag\)"):
        engine(flags={"port": 1})


def test_variables_of_other_programs_and_those_read_elsewhere_are_left_alone() -> None:
    variables = {"PATH": "/bin", "farthing_device": "cpu", "FARTHING_CONFIG": "a.toml", "FARTHING_TEST_MODELS": "/m"}
    assert set(resolve(GROUPS, env=variables).origins.values()) == {"default"}


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "Yes", "on"])
def test_words_for_yes_in_the_environment(text: str) -> None:
    assert resolve([ServingSettings], env={"FARTHING_TRUNCATE": text}).group(ServingSettings).truncate is True


@pytest.mark.parametrize("text", ["0", "false", "No", "OFF"])
def test_words_for_no_in_the_environment(text: str) -> None:
    assert resolve([ServingSettings], env={"FARTHING_TRUNCATE": text}).group(ServingSettings).truncate is False


@given(number=st.integers(min_value=1))
def test_whole_numbers_in_the_environment_are_read(number: int) -> None:
    assert engine(env={"FARTHING_MAX_BATCH_TOKENS": f" {number} "}).max_batch_tokens == number


@given(text=st.text(alphabet="0123456789-+_. e²٣½x", max_size=6))
def test_any_text_for_a_number_is_read_exactly_or_refused(text: str) -> None:
    variables = {"FARTHING_MAX_BATCH_TOKENS": text}
    number = text.strip(" ")
    if number.isascii() and number.removeprefix("-").isdigit() and int(number) >= 1:
        assert engine(env=variables).max_batch_tokens == int(number)
    else:
        with pytest.raises(SettingsError, match="max_batch_tokens"):
            engine(env=variables)


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ({"env": {"FARTHING_PORT": "eighty"}}, "port from the environment is 'eighty'; it must be a whole number"),
        ({"env": {"FARTHING_PORT": "--1"}}, "port from the environment is '--1'; it must be a whole number"),
        ({"env": {"FARTHING_TRUNCATE": "maybe"}}, "truncate from the environment is 'maybe'; it must be true or false"),
        ({"file": {"port": "80"}}, "port from the file is '80'; it must be a whole number"),
        ({"file": {"port": True}}, "port from the file is True; it must be a whole number"),
        ({"file": {"device": ["cpu"]}}, "device from the file is ['cpu']; it must be a text"),
        ({"flags": {"truncate": "yes"}}, "truncate from the flag is 'yes'; it must be true or false"),
        ({"flags": {"device": None}}, "device is None; it must be a text"),
        (
            {"env": {"FARTHING_PORT": "70000"}},
            "port is 70000; it must be a whole number of at most 65535. Port to listen on (0: any free one).",
        ),
        ({"env": {"FARTHING_PORT": "-1"}}, "port is -1; it must be a whole number of at least 0"),
        ({"file": {"short_text": "drop"}}, "short_text is 'drop'; available: error, zero, embed"),
    ],
)
def test_a_wrong_value_is_refused_wherever_it_comes_from(origins: dict[str, Any], expected: str) -> None:
    assert message(**origins) == expected


@pytest.mark.parametrize(
    "origins",
    [
        {"env": {"FARTHING_MIN_FIDELITY": " 0.25 "}},
        {"file": {"min_fidelity": 0.25}},
        {"flags": {"min_fidelity": 0.25}},
    ],
)
def test_a_number_with_decimals_is_read_wherever_it_comes_from(origins: dict[str, Any]) -> None:
    assert engine(**origins).min_fidelity == 0.25


@pytest.mark.parametrize("text", ["half", "1e-1", "nan", ".5", "0,5"])
def test_what_is_no_number_with_decimals_is_refused(text: str) -> None:
    assert message(env={"FARTHING_MIN_FIDELITY": text}) == (
        f"min_fidelity from the environment is {text!r}; it must be a number"
    )


def test_a_flag_that_is_none_unsets_what_the_file_says() -> None:
    assert engine(file={"max_batch_tokens": 5}, flags={"max_batch_tokens": None}).max_batch_tokens is None


def test_a_config_file_may_use_dashes_or_underscores(tmp_path: Path) -> None:
    file = tmp_path / "farthing.toml"
    file.write_text('max-batch-tokens = 7\nshort_text = "zero"\noffline = true\n')
    content = read_config_file(file)
    assert content == {"max_batch_tokens": 7, "short_text": "zero", "offline": True}
    assert resolve(GROUPS, file=content).group(EngineSettings).max_batch_tokens == 7


@pytest.mark.parametrize(
    ("content", "what"), [(b"port = \n", "valid TOML: "), (b"= 3", "valid TOML: "), (b"\xff\xfe", "UTF-8 text, ")]
)
def test_a_config_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "farthing.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"The config file {file} is not {what}"):
        read_config_file(file)


def test_a_config_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"Cannot read the config file {tmp_path}/no: No such file"):
        read_config_file(tmp_path / "no")
    with pytest.raises(SettingsError, match=f"Cannot read the config file {tmp_path}: Is a directory"):
        read_config_file(tmp_path)


def test_a_table_in_the_config_file_is_an_unknown_setting(tmp_path: Path) -> None:
    file = tmp_path / "farthing.toml"
    file.write_text('[machine]\ndevice = "cpu"\n')
    assert message(file=read_config_file(file)).startswith("The config file has a table [machine]; ")


def test_fields_are_described_with_plain_types() -> None:
    facts = {fact["name"]: fact for kind in GROUPS for fact in describe(kind)}
    assert {fact["type"] for fact in facts.values()} == {str, int, bool, float}
    assert facts["context_length"]["type"] is int
    assert facts["context_length"]["flags"] == ("--max-sequence-length", "--max-model-len")
    assert facts["port"]["default"] == 30000


OF_SERVICES = {
    "FARTHING_PORT": "tcp://10.43.0.7:80",
    "FARTHING_SERVICE_HOST": "10.43.0.7",
    "FARTHING_SERVICE_PORT": "80",
    "FARTHING_SERVICE_PORT_HTTP": "80",
    "FARTHING_PORT_80_TCP": "tcp://10.43.0.7:80",
    "FARTHING_PORT_80_TCP_PROTO": "tcp",
    "FARTHING_PORT_80_TCP_PORT": "80",
    "FARTHING_PORT_80_TCP_ADDR": "10.43.0.7",
    "FARTHING_GPU_SERVICE_HOST": "fd00::7",
    "FARTHING_GPU_PORT": "udp://[fd00::7]:80",
}


def test_variables_that_kubernetes_makes_of_a_service_are_no_settings() -> None:
    resolved = resolve(GROUPS, env=OF_SERVICES)
    assert resolved.group(ServerSettings).port == ServerSettings().port
    assert set(resolved.origins.values()) == {"default"}
    assert resolve(GROUPS, env={**OF_SERVICES, "FARTHING_PORT": "8080"}).group(ServerSettings).port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FARTHING_PORT", "tcp"),
        ("FARTHING_URL", "http://10.43.0.7"),
        ("FARTHING_SERVICE_PORT", "eighty"),
        ("FARTHING_API_KEYS", "10.43.0.7"),
        ("FARTHING_QUEUE_PORT", "8080x"),
    ],
)
def test_other_variables_of_the_prefix_must_be_settings(name: str, value: str) -> None:
    assert name.lower().removeprefix("farthing_") in message(env={name: value}).lower()
