"""How commands present themselves: help with examples to copy, and hints where a name was mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import ClassVar, NamedTuple

import click

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


# From this ratio of difflib on, an option without its dashes is taken for another one mistyped. Click itself takes 0.6
# and counts the dashes too, so that --json is near to --revision.
NEAR_OPTION = 0.7


class Command(click.Command):
    """A command whose epilog is a list of examples, one on each line, shown under a heading as they are written.

    For an unknown option it names the options that may be meant, if there are any.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            error.possibilities = near_options(error.option_name, error.possibilities or ())  # type: ignore[misc]
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.removeprefix("Example: ").splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def near_options(name: str, options: Iterable[str]) -> list[str]:
    """Return those of `options` whose letters are near to those of `name`, the nearest first."""
    letters = name.lstrip("-")
    found = {option: difflib.SequenceMatcher(None, option.lstrip("-"), letters).ratio() for option in options}
    return sorted((option for option in found if found[option] >= NEAR_OPTION), key=lambda option: -found[option])


class Group(Command, click.Group):
    """A group that suggests a command where one was mistyped, or lists its commands."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Commands: {', '.join(known)}."
            raise click.UsageError(f"No such command {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyCommand(NamedTuple):
    """A command that is not imported yet."""

    target: str  # "module:attribute"
    help: str


class LazyGroup(Group):
    """A group that imports a command only when it is called for, and lists its commands without importing any."""

    entries: ClassVar[Mapping[str, LazyCommand]]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self.entries:
            return None
        module, _, attribute = self.entries[cmd_name].target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])
