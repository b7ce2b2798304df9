"""How one request to one upstream can end badly, when another one may still answer it."""

from __future__ import annotations


class AttemptFailedError(Exception):
    """The upstream broke off, answered 5xx, or something that makes no sense.

    Attributes:
        reason: one phrase, without anything that the upstream said.
        detail: what it said.
        is_gone: it cannot be reached or does not answer, so that asking it again now is of no use.
    """

    def __init__(self, reason: str, *, detail: str = "", is_gone: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.is_gone = reason, detail, is_gone


class AttemptBusyError(Exception):
    """The upstream has too much to do, and wants to be left alone for `rest_s` seconds."""

    def __init__(self, rest_s: float) -> None:
        super().__init__("has too much to do (429)")
        self.rest_s = rest_s
