"""Records that a job leaves out because they cannot be read or used: counted, the first of them with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from farthing.core.errors import InputError

MOST_NAMED = 20


@dataclass
class Skipped:
    """
    Attributes:
        strict: nothing is left out: what is wrong is an error.
        num: records that were left out.
        reasons: of the first `MOST_NAMED`, each with its place.
    """

    strict: bool = False
    num: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, error: InputError) -> None:
        """Leave out the record that the error is of. Raises it when `strict`."""
        if self.strict:
            raise error
        self.num += 1
        if len(self.reasons) < MOST_NAMED:
            self.reasons.append(str(error))


STRICT = Skipped(strict=True)  # holds nothing
