"""The files that `farthing dedup` writes.

In: `Duplicates` and the texts. Out: the kept records, the dropped records with the text that each repeats, and the
report as JSON. Each file is either whole or not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.files import write_atomically
from farthing.toolkit.bulk.progress import counted

if TYPE_CHECKING:
    from farthing.toolkit.dedup.find import Duplicates
    from farthing.toolkit.dedup.report import DedupReport
    from farthing.toolkit.text_set import TextSet


@dataclass(frozen=True)
class Outputs:
    """`data_format` is the format of the input. Paths are None for files that are not to be written."""

    data_format: str
    kept: Path | None
    dropped: Path | None
    report: Path | None

    @property
    def dropped_format(self) -> str:
        """The format of the dropped records: JSON Lines for plain text, which has no place for added fields."""
        return "jsonl" if self.data_format == "txt" else self.data_format

    def check(self, *, overwrite: bool) -> None:
        """Raise `SettingsError` when one of the files cannot be written as asked."""
        formats = {self.kept: self.data_format, self.dropped: self.dropped_format, self.report: "json"}
        given = [path.absolute() for path in (self.kept, self.dropped, self.report) if path is not None]
        if len(set(given)) < len(given):
            raise SettingsError("Two outputs have the same name; give each its own.", param="output")
        for path, wanted in formats.items():
            if path is not None:
                check_output(path, wanted, overwrite)

    def save(self, found: Duplicates, texts: TextSet, others: TextSet, report: DedupReport) -> None:
        """Write the files. `others` are the texts that `found.nearest` points to. Raises the errors of writing."""
        import numpy as np

        from farthing.toolkit.dedup.write import reasons, write_records

        if self.kept is not None:
            kept = np.flatnonzero(~found.dropped)
            write = partial(write_records, texts, kept, format=self.data_format)
            written(self.kept, write, counted(len(kept), "record"))
        if self.dropped is not None:
            dropped = np.flatnonzero(found.dropped)
            added = reasons(found, dropped, others)
            write = partial(write_records, texts, dropped, format=self.dropped_format, added=added)
            written(self.dropped, write, counted(len(dropped), "record"))
        if self.report is not None:
            content = json.dumps(as_object(report, texts, others), indent=1)
            written(self.report, lambda path: path.write_text(content + "\n", encoding="utf-8"), "the report")


def as_object(report: DedupReport, texts: TextSet, others: TextSet) -> dict[str, Any]:
    """Return the report as an object for JSON; `others` as in `Outputs.save`."""
    return {"source": texts.source, "nearest_in": others.source} | asdict(report)


def check_output(path: Path, wanted: str, overwrite: bool) -> None:
    if path.suffix.lower() != f".{wanted}":
        raise SettingsError(f"{path} will be written as {wanted}: name it {path.stem}.{wanted}.", param="output")
    if path.exists() and not overwrite:
        raise SettingsError(
            f"The output {path} exists already. Choose another, or give --overwrite to replace it.", param="output"
        )
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"The folder of {path} does not exist. Make it, or choose another.", param="output")


def written(path: Path, write: Callable[[Path], object], what: str) -> None:
    write_atomically(path, write)
    click.echo(f"Wrote {path}: {what}.", err=True)
