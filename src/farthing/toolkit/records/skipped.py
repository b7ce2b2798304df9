"""Counts the records that a job leaves out because they cannot be read or used, and keeps the first of them with
reasons."""

from __future__ import annotations

from dataclasses import field

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError

MOST_NAMED = 20


@dataclass
class Skipped:
    """
    Attributes:
        strict: whether nothing may be left out: what is wrong is an error.
        num: how many records were left out.
        reasons: the reasons for the first `MOST_NAMED` records, each with the record's place.
    """

    strict: bool = False
    num: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, error: InputError) -> None:
        """Leave out the record that the error is about. Raises the error when `strict`."""
        if self.strict:
            raise error
        self.num += 1
        if len(self.reasons) < MOST_NAMED:
            self.reasons.append(str(error))


STRICT = Skipped(strict=True)  # collects nothing, so that it can be shared
