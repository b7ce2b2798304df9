from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from farthing.cli.common.options import OFTEN_USED, SettingsCommand, settings_options
from farthing.core.errors import SettingsError
from farthing.core.resolve import Resolved, describe
from farthing.core.settings import GROUPS as EVERY_GROUP
from farthing.core.settings import EngineSettings, ServerSettings, ServingSettings

GROUPS = (EngineSettings, ServingSettings)


@click.command(cls=SettingsCommand)
@click.argument("model")
@click.option("--own", help="An option of the command itself.")
@settings_options(*GROUPS)
def command(model: str, own: str | None, settings: Resolved) -> None:
    """Show what was given."""
    click.echo("\n".join([model, str(own), *settings.lines()]))


def invoke(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(command, args, env=env)


def lines(*args: str, env: dict[str, str] | None = None) -> list[str]:
    result = invoke(*args, env=env)
    assert result.exception is None, result.output
    return result.stdout.splitlines()


def error_of(*args: str, env: dict[str, str] | None = None) -> str:
    result = invoke(*args, env=env)
    assert isinstance(result.exception, SettingsError), result.output
    return str(result.exception)


def test_without_flags_every_setting_has_its_default() -> None:
    shown = lines("m")
    assert shown[:2] == ["m", "None"]
    assert len(shown) == 2 + sum(len(describe(kind)) for kind in GROUPS)
    assert all(line.endswith("(default)") for line in shown[2:])


def test_every_setting_has_an_option_in_the_help_of_its_group() -> None:
    shown = invoke("--help-all").stdout
    own, engine, serving = shown.index("Options:"), shown.index("Engine settings:"), shown.index("Serving settings:")
    assert own < shown.index("--own") < shown.index("--config") < engine < shown.index("--device") < serving
    for fact in (fact for kind in GROUPS for fact in describe(kind)):
        assert f"--{fact['name'].replace('_', '-')}" in shown
        assert all(flag in shown for flag in fact["flags"])
    assert "--port" not in shown


def test_the_short_help_shows_the_commands_own_options_and_settings_that_are_often_used() -> None:
    shown = invoke("--help").stdout
    assert shown.index("Options:") < shown.index("--own") < shown.index("Settings:") < shown.index("--memory")
    for seldom in ("--max-queue-texts", "--bulk-share", "--prefix-cache", "Engine settings:"):
        assert seldom not in shown
        assert seldom in invoke("--help-all").stdout
    num_settings = sum(len(describe(kind)) for kind in GROUPS)
    num_shown = sum(fact["name"] in OFTEN_USED for kind in GROUPS for fact in describe(kind))
    assert f"{num_settings - num_shown} more settings, for special cases: command --help-all" in shown


def test_every_setting_that_is_often_used_is_one() -> None:
    assert {fact["name"] for kind in EVERY_GROUP for fact in describe(kind)} >= OFTEN_USED


def test_examples_are_shown_a_line_each_as_they_are_written() -> None:
    line = "farthing command " + "--with a-long-argument " * 8
    with_examples = click.command("c", cls=SettingsCommand, epilog=f"{line}\nfarthing c")(lambda: None)
    shown = CliRunner().invoke(with_examples, "--help")
    assert shown.stdout.endswith(f"Examples:\n  {line}\n  farthing c\n")


def test_help_shows_choices_and_defaults_once() -> None:
    shown = " ".join(invoke("--help-all").stdout.split())
    assert "[error|zero|embed]" in shown
    assert "[default: 512]" in shown
    assert "--truncate / --no-truncate" in shown
    assert "[default: off]" in shown
    assert "[default: None]" not in shown


def test_each_origin_wins_over_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "farthing.toml"
    file.write_text('device = "cpu"\nmin-chars = 2\nmax_batch_size = 7\nport = 8080\n')
    env = {"FARTHING_MIN_CHARS": "3", "FARTHING_MAX_BATCH_SIZE": "8"}
    shown = lines("m", "--config", str(file), "--max-batch-size", "9", env=env)
    assert {"device = cpu (file)", "min_chars = 3 (environment)", "max_batch_size = 9 (flag)"} <= set(shown)


def test_the_config_file_may_be_named_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "farthing.toml").write_text("truncate = true\n")
    assert "truncate = True (file)" in lines("m", env={"FARTHING_CONFIG": str(tmp_path / "farthing.toml")})


@pytest.mark.parametrize(("flag", "value"), [("--truncate", True), ("--no-truncate", False)])
def test_both_spellings_of_a_switch_count_as_given(flag: str, value: bool) -> None:
    assert f"truncate = {value} (flag)" in lines("m", flag, env={"FARTHING_TRUNCATE": str(not value)})


@pytest.mark.parametrize("flag", ["--context-length", "--max-sequence-length", "--max-model-len"])
def test_further_flags_set_the_same_setting(flag: str) -> None:
    assert "context_length = 99 (flag)" in lines("m", flag, "99")


def test_a_value_that_is_not_a_choice_names_those_available() -> None:
    assert error_of("m", "--short-text", "drop") == "short_text is 'drop'; available: error, zero, embed"


def test_a_value_out_of_range_names_the_limit() -> None:
    assert "max_batch_size is 0; it must be a whole number of at least 1" in error_of("m", "--max-batch-size", "0")


def test_a_flag_of_the_wrong_type_is_a_usage_error() -> None:
    result = invoke("m", "--max-batch-size", "many")
    assert (result.exit_code, "'many' is not a valid integer" in result.stderr) == (2, True)


def test_an_unknown_variable_is_refused() -> None:
    assert "Unknown setting FARTHING_DEVISE (environment)" in error_of("m", env={"FARTHING_DEVISE": "cpu"})


def test_a_config_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"Cannot read the config file {tmp_path / 'no.toml'}" in error_of("m", "--config", str(tmp_path / "no.toml"))


def test_settings_of_other_groups_may_stand_in_the_file_but_have_no_value_here() -> None:
    @click.command(cls=SettingsCommand)
    @settings_options(ServerSettings)
    def serve(settings: Resolved) -> None:
        click.echo(settings.group(ServerSettings).port)

    result = CliRunner().invoke(serve, [], env={"FARTHING_PORT": "8081", "FARTHING_DEVICE": "cpu"})
    assert result.stdout == "8081\n"
