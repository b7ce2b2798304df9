"""Command-line options made from the settings dataclasses.

In: settings groups of `farthing.core.settings`. Out: a decorator that adds an option for each field, and `--config`, to
a command, and calls the command with `settings`, the groups resolved from file, environment and flags. The settings
themselves check limits and choices, so that a wrong value gets the same message wherever it came from. Only this module
reads settings from the environment.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from farthing.cli.common.commands import Command
from farthing.core.resolve import describe, read_config_file, resolve
from farthing.core.settings import RETIRED, Checked

Function = Callable[..., Any]

# Settings that the short help of a command shows, if the command takes them.
OFTEN_USED = frozenset(
    (
        "host",
        "port",
        "served_model_name",
        "api_keys_file",
        "index_folder",
        "reranker",
        "cache",
        "upstream",
        "format",
        "memory",
        "device",
        "context_length",
        "truncate",
        "short_text",
        "offline",
    )
)
IS_WHOLE = "farthing.whole_help"  # key in a context's `meta`


class SettingOption(click.Option):
    """An option that knows the heading it is listed under in the help."""

    def __init__(self, *args: Any, heading: str, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.heading = heading


class SettingsCommand(Command):
    """A command whose help lists its own options and the settings that are often used. `--help-all` lists all settings,
    each group under its heading."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.params.append(
            click.Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=show_all,
                help="Show this message with all settings and exit.",
            )
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        is_whole, num_left = ctx.meta.get(IS_WHOLE, False), 0
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or not isinstance(param, click.Option):
                continue
            if not isinstance(param, SettingOption):
                sections["Options"].append(record)
            elif is_whole:
                sections.setdefault(param.heading, []).append(record)
            elif param.name in OFTEN_USED:
                sections.setdefault("Settings", []).append(record)
            else:
                num_left += 1
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)
        if num_left:
            formatter.write_paragraph()
            formatter.write_text(f"{num_left} more settings, for special cases: {ctx.command_path} --help-all")

    def get_whole_help(self, ctx: click.Context) -> str:
        """Return the help with all settings."""
        ctx.meta[IS_WHOLE] = True
        return self.get_help(ctx)


def show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if value and not ctx.resilient_parsing:
        assert isinstance(ctx.command, SettingsCommand)
        click.echo(ctx.command.get_whole_help(ctx), color=ctx.color)
        ctx.exit()


def settings_options(*groups: type[Checked]) -> Callable[[Function], Function]:
    """Add an option for every field of `groups`, and `--config FILE`; call the command with `settings: Resolved`.

    Use it under `@click.command(cls=SettingsCommand)`. Without its flag, a setting comes from FARTHING_* in the
    environment, else from the file, else from the default. The command raises `SettingsError` for values out of range.
    """
    retired = [name for name, (kind, _) in RETIRED.items() if kind in groups]
    names = [*(fact["name"] for kind in groups for fact in describe(kind)), *retired]

    def decorate(command: Function) -> Function:
        def with_settings(*args: Any, config: Path | None, **params: Any) -> Any:
            given = {name: params.pop(name) for name in names}
            settings = resolve(
                groups,
                file=read_config_file(config) if config else None,
                env=os.environ,
                flags={name: value for name, value in given.items() if value is not None},
            )
            return command(*args, settings=settings, **params)

        config_option = click.option(
            "--config",
            type=click.Path(path_type=Path),
            envvar="FARTHING_CONFIG",
            help="TOML file with settings. Flags win over FARTHING_<SETTING> variables, and these over the file.",
        )
        decorated: Function = functools.wraps(command)(with_settings)
        # click lists options in the reverse order of their decorators.
        for kind in reversed(groups):
            for fact in reversed(describe(kind)):
                decorated = option_for(kind, fact)(decorated)
        for name in retired:
            decorated = click.option(f"--{name.replace('_', '-')}", hidden=True, default=None)(decorated)
        return config_option(decorated)

    return decorate


def option_for(kind: type[Checked], fact: dict[str, Any]) -> Callable[[Function], Function]:
    """Return the click option for one settings field; its value is None where it is not given."""
    name, wanted = fact["name"], fact["type"]
    dashed = name.replace("_", "-")
    return click.option(
        f"--{dashed}/--no-{dashed}" if wanted is bool else f"--{dashed}",
        *fact["flags"],
        name,
        cls=SettingOption,
        heading=f"{kind.__name__.removesuffix('Settings')} settings",
        type=wanted,
        multiple=fact["repeatable"],
        callback=joined if fact["repeatable"] else None,
        default=None,
        metavar=f"[{'|'.join(fact['choices'])}]" if fact["choices"] else None,
        help=help_text(fact),
    )


def joined(context: click.Context, param: click.Parameter, values: Sequence[str]) -> str | None:  # noqa: ARG001
    """Return the values of a repeatable flag as one string with commas, None when the flag was not given."""
    return ",".join(values) if values else None


def help_text(fact: dict[str, Any]) -> str:
    """Return the field's help, with its default added unless the help names it or there is none."""
    text, default = fact["help"], fact["default"]
    if default is None or "(default:" in text:
        return str(text)
    shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else default
    return f"{text} [default: {shown}]"
