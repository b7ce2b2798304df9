"""How requests are cleaned, queued and batched."""

from __future__ import annotations

from farthing.core.deferred import dataclass
from farthing.core.settings.field import Checked, option


@dataclass(frozen=True)
class ServingSettings(Checked):
    """How requests are cleaned, queued and batched."""

    max_running_requests: int = option(
        10_000,
        "Most requests in work at once; further ones wait their turn, and no limit of the queue counts them.",
        minimum=1,
    )
    max_batch_size: int = option(512, "Most texts of one forward pass.", minimum=1)
    max_texts_per_request: int = option(8192, "Most texts of one request.", minimum=1)
    max_token_vectors: int = option(
        8192, "Most tokens of one request for a vector of every token (/embed_all).", minimum=1
    )
    max_listed_tokens: int = option(
        100_000, "Most tokens of one request for lists of tokens, or for texts of them (/tokenize, /decode).", minimum=1
    )
    max_queue_texts: int = option(100_000, "Most texts waiting; beyond it requests are refused (429).", minimum=1)
    max_queue_tokens: int = option(
        10_000_000,
        "Most tokens waiting, estimated before texts are tokenised; beyond it requests are refused (429).",
        minimum=1,
    )
    max_queue_ms: float | None = option(
        None,
        "Longest expected wait for a turn, in ms; a request that would wait for longer, or has waited twice as long, "
        "is refused (429).",
        minimum=1,
    )
    bulk_share: float = option(
        0.2, "Share of each batch that bulk requests have while interactive ones wait.", minimum=0.01, maximum=0.9
    )
    request_timeout_s: float | None = option(
        None,
        "Longest time for a request, in seconds; what is not finished by then is answered with 504.",
        minimum=0.001,
    )
    max_text_chars: int = option(
        1_000_000,
        "Most characters of one text with its prompt; longer ones are refused before tokenising takes seconds.",
        minimum=1,
    )
    tokenizer_threads: int = option(
        2,
        "Threads that clean and tokenise: so many for short texts of each lane, and as many for long ones.",
        minimum=1,
    )
    truncate: bool = option(False, "Cut texts longer than the context when a request does not say.")
    min_chars: int = option(1, "Fewest characters of a text (after cleaning).", minimum=0)
    short_text: str = option(
        "error",
        "Texts under min-chars: refuse (error), answer a zero vector (zero), or embed them anyway (embed).",
        choices=("error", "zero", "embed"),
    )
    memory_steps: str = option(
        "all",
        "When memory runs short: do nothing (off), take steps that keep every vector as it is (exact), or, while "
        "serving, round the weights too, which each answer says (all).",
        choices=("off", "exact", "all"),
    )
    fallback_model: str | None = option(
        None, "A small model that answers requests for the model auto while memory is very short."
    )
    on_worker_death: str = option(
        "restart",
        "When the thread on the device dies: start a new one, or exit the process with status 70.",
        choices=("restart", "exit"),
    )
