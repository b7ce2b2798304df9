"""Progress bars on standard error.

The library that draws them is imported when the first one is drawn: that takes a tenth of the time in which a small
model is ready.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol, TextIO, cast


class Bar(Protocol):
    """What is used of a bar of tqdm's.

    Attributes:
        n: how much is done; it stays 0 where the bar is not shown.
        total: how much there is in all, where that is known.
    """

    n: float
    total: float | None

    def update(self, n: float = 1) -> object: ...

    def refresh(self) -> object: ...

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> object: ...

    def write(self, s: str, file: TextIO) -> object: ...

    def close(self) -> object: ...

    def __enter__(self) -> Bar: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> object: ...


class HiddenBar:
    """A bar that is not shown."""

    def __init__(self, total: float | None = None) -> None:
        self.n: float = 0
        self.total = total

    def update(self, n: float = 1) -> None:
        pass

    def refresh(self) -> None:
        pass

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        pass

    def write(self, s: str, file: TextIO) -> None:
        print(s, file=file)

    def close(self) -> None:
        pass

    def __enter__(self) -> HiddenBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def progress_bar(total: float | None = None, *, shown: bool, **options: Any) -> Bar:
    """A bar up to `total`, with options of tqdm's; one that draws nothing unless it is `shown`."""
    if not shown:
        return HiddenBar(total)
    from tqdm import tqdm

    return cast(Bar, tqdm(total=total, **options))
