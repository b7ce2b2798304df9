"""The `farthing` command: which commands there are, and how errors become messages and exit codes.

A command's module is imported only when the command runs, so that help and version come without loading torch. Exit
codes: 0 done, 1 failed, 2 the caller's input or settings are at fault, 130 interrupted.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import Any, NoReturn

import click

from farthing.cli.common.commands import HELP_NAMES, LazyCommand, LazyGroup
from farthing.cli.common.flags import in_flags
from farthing.core.errors import FarthingError, InputError, SettingsError
from farthing.core.version import __version__

ESCAPED = "farthing.escaped"  # our name, for `codecs`, of the way to treat characters that cannot be encoded


COMMANDS = {
    "serve": LazyCommand("farthing.cli.serve:serve", "Serve a model over HTTP."),
    "embed": LazyCommand("farthing.cli.embed:embed", "Embed a file of texts; a job that was stopped goes on."),
    "rerank": LazyCommand("farthing.cli.rerank:rerank", "Order the texts of a file by how well they answer a query."),
    "index": LazyCommand("farthing.cli.index.command:index", "Make an index of documents, add to it, look after it."),
    "search": LazyCommand("farthing.cli.search:search", "Find passages of an index by meaning and by words."),
    "dedup": LazyCommand("farthing.cli.dedup.command:dedup", "Find the texts of a file that repeat others."),
    "cluster": LazyCommand(
        "farthing.cli.cluster:cluster", "Find clusters of the texts of a file, and draw a map of them."
    ),
    "eval": LazyCommand(
        "farthing.cli.evaluate:evaluate", "Measure a model on labelled texts, several settings at once."
    ),
    "quantize": LazyCommand("farthing.cli.quantize:quantize", "Write a folder of int8 weights that loads at once."),
    "pull": LazyCommand("farthing.cli.pull:pull", "Download a model."),
    "models": LazyCommand("farthing.cli.models:models", "Show which models are on this machine, or remove one."),
    "synth": LazyCommand("farthing.cli.synth:synth", "Write a small random model, for trials and tests."),
    "bench": LazyCommand("farthing.cli.bench.command:bench", "Measure how fast a model runs on this machine."),
    "plan": LazyCommand("farthing.cli.plan:plan", "Show how a model would be run in the memory there is."),
    "config": LazyCommand("farthing.cli.config:config", "Check a config file."),
    "info": LazyCommand("farthing.cli.info:info", "Show versions, devices and installed extras."),
}


class MainGroup(LazyGroup):
    """The group of all commands. `farthing help search` is another way to write `farthing search --help`."""

    entries = COMMANDS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [*args[1:], "--help"] if args[:1] == ["help"] else args)


@click.group(cls=MainGroup, context_settings=HELP_NAMES, epilog="farthing help search")
@click.version_option(__version__, package_name="farthing", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Turn text into vectors, on the hardware you already have."""
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        ctx.color = False


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. Every error of Farthing's is printed here, without a traceback."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        print_anything(stream)
    try:
        outcome: Any = cli.main(args, prog_name="farthing", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FarthingError as error:
        click.echo(f"Error: {in_flags(str(error))}", err=True)
        return 2 if isinstance(error, (SettingsError, InputError)) else 1
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from failing again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        click.echo(f"Error: {in_words(error)}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    return outcome if isinstance(outcome, int) else 0


def in_words(error: OSError) -> str:
    """Return an error of the operating system in words, such as a full disk or a file that may not be read."""
    place = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: nothing more can be written{' to' if place else ''}{place}. Make room and try again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and place:
        return f"{place.strip()} cannot be read or written: {error.strerror}. Choose another place, or allow it."
    return str(error)


def print_anything(stream: object) -> None:
    """Have `stream` write characters that its encoding lacks as \\uXXXX, which JSON reads too, instead of failing."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        codecs.register_error(ESCAPED, escaped)
        stream.reconfigure(errors=ESCAPED)


def escaped(error: UnicodeError) -> tuple[str, int]:
    """Return the characters escaped: those beyond the first 65,536 as two halves, as in JSON, others as one."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end
