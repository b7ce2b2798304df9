"""What the user sees of a bulk job on standard error: a progress bar, and counts at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from farthing.core.progress import progress_bar
from farthing.serving.request import EmbedResult


class Progress:
    """
    Args:
        num_done: rows that earlier runs have finished.
        shown: draw a bar.
        say: is given each sentence for the user.
    """

    def __init__(self, num_done: int, *, shown: bool, say: Callable[[str], None]) -> None:
        self.say = say
        self.num_rows = self.num_tokens = self.num_truncated = self.num_unknown = self.num_unknown_tokens = 0
        self.warnings: set[str] = set()
        self.started = time.monotonic()
        self.bar = progress_bar(shown=shown, initial=num_done, unit=" rows", dynamic_ncols=True)

    def add(self, result: EmbedResult, num_rows: int, estimated_rows: int | None) -> None:
        """Count a committed chunk of `num_rows` rows; the input has about `estimated_rows` in all."""
        self.num_rows += num_rows
        self.num_tokens += result.num_tokens
        self.num_truncated += len(result.truncated)
        self.num_unknown += len(result.unknown.texts)
        self.num_unknown_tokens += result.unknown.num_tokens
        for warning in set(result.warnings) - self.warnings:
            self.bar.write(f"Warning: {warning}", file=sys.stderr)
        self.warnings.update(result.warnings)
        self.bar.total = estimated_rows
        self.bar.set_postfix_str(f"{self.tokens_per_second:,.0f} tokens/s", refresh=False)
        self.bar.update(num_rows)

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-3)

    @property
    def tokens_per_second(self) -> float:
        return self.num_tokens / self.seconds

    def close(self) -> None:
        """End the bar and say what was done in this run."""
        self.bar.close()
        if self.num_truncated:
            self.say(f"Cut to the context length: {counted(self.num_truncated, 'text')}.")
        if self.num_unknown_tokens:
            share = self.num_unknown_tokens / self.num_tokens
            self.say(
                f"Not in the model's vocabulary: {counted(self.num_unknown_tokens, 'token')} ({share:.1%}); "
                f"{counted(self.num_unknown, 'text')} of such words alone, all with the same vector."
            )
        if self.num_rows:
            self.say(
                f"Embedded {counted(self.num_rows, 'row')} in {self.seconds:,.1f} s: "
                f"{self.num_rows / self.seconds:,.1f} rows/s, {self.tokens_per_second:,.0f} tokens/s."
            )


def counted(number: int, noun: str) -> str:
    """Return the number with its noun: "1 row", "2,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
