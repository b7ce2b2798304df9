"""`farthing plan`: shows how much memory a model will take, before it is loaded or even downloaded.

In: a model's name or a shape, and the settings that `serve` takes. Out: every way to run the model with its bytes, and
the way that these settings choose, with the reasons. The arithmetic is in `farthing.engine.plan.choose`.
"""

from __future__ import annotations

import json

import click

from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.cli.common.terminal import terminal_width
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings, SourceSettings


@click.command(
    "plan",
    cls=SettingsCommand,
    epilog="farthing plan qwen3-4b --memory 6GB --context-length 8192",
)
@click.argument("model", metavar="MODEL_OR_SHAPE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options(SourceSettings, EngineSettings)
def plan(model: str, as_json: bool, settings: Resolved) -> None:
    """Show how a model would be run in the memory there is, without loading it.

    MODEL_OR_SHAPE is a model as `serve` takes it, of which only config.json and similar files are downloaded, or the
    shape of a published model: qwen3-0.6b, qwen3-4b, qwen3-8b. Sizes are the peak memory of the whole process, or of
    the card if the model runs on one. `serve`, `embed` and `bench` with the same settings run what is shown here.
    """
    # Imported here, so that the help comes without loading torch.
    from farthing.cli.planning import as_object, plan_model, report_lines

    found = plan_model(model, settings.group(SourceSettings), settings.group(EngineSettings))
    if as_json:
        click.echo(json.dumps(as_object(found), indent=2))
    else:
        for line in report_lines(found, terminal_width()):
            click.echo(line)
    if found.refusal is not None:
        raise found.refusal
