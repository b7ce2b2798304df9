"""Says how much of an index's passages the model does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farthing.toolkit.bulk.progress import counted

if TYPE_CHECKING:
    from farthing.toolkit.index.unknown_words import UnknownWords


def not_known(unknown: UnknownWords) -> list[str]:
    """Return one sentence, or none where all words are known. A model on another server reports no tokens."""
    passages = f"{counted(unknown.num_passages, 'passage')} of such words alone, of which vectors say nothing"
    if unknown.num_unknown_tokens:
        tokens = counted(unknown.num_unknown_tokens, "token")
        share = unknown.num_unknown_tokens / unknown.num_tokens
        return [f"Not in the model's vocabulary: {tokens} ({share:.1%}); {passages}."]
    return [f"Not in the model's vocabulary: {passages}."] if unknown.num_passages else []
