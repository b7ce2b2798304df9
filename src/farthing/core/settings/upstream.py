"""Servers elsewhere that compute in this one's stead, and engines that are started for it."""

from __future__ import annotations

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.settings.field import Checked, check_http_url, option

EXAMPLE = "http://host:8000/v1"


@dataclass(frozen=True)
class UpstreamSettings(Checked):
    """Servers elsewhere that compute in this one's stead, and engines that are started for it."""

    upstream: str | None = option(
        None,
        "Base URL of a server with OpenAI's embeddings API (http://host:port/v1) that computes MODEL; several with "
        "commas in between, or the flag several times.",
        repeatable=True,
    )
    upstream_model: str | None = option(None, "What the upstream calls the model (default: MODEL).")
    upstream_api_key: str | None = option(None, "Key for the upstream, sent as a bearer token.", secret=True)
    upstream_timeout_s: float = option(
        60.0, "Longest that one answer of an upstream may take before another one is asked, in seconds.", minimum=0.01
    )
    upstream_start_s: float = option(
        600.0, "Longest to wait at start for the first upstream, or the engine, to be ready, in seconds.", minimum=0
    )
    upstream_batch_texts: int = option(32, "Most texts of one request to an upstream; more are split.", minimum=1)
    upstream_max_running: int = option(
        32, "Most requests at once, times the number of upstreams; more wait their turn.", minimum=1
    )
    upstream_dimensions: int | None = option(
        None, "Length of the upstream's full vectors; one that makes others is not used (default: any).", minimum=1
    )
    upstream_space: str | None = option(
        None,
        "What stands for the upstream's weights in the identity of its vectors (default: what a Farthing says of them, "
        "of others their name of the model). Give another one when the weights behind that name change.",
    )
    upstream_prompts: str | None = option(
        None,
        "A local folder or hub id whose configuration has the model's prompts and instruction template; no weights are "
        "read (default: no prompts are known, with --engine those of MODEL).",
    )
    upstream_scores: str = option(
        "probability",
        "What an upstream that reranks answers: scores from 0 to 1 (probability), or logits.",
        choices=("probability", "logit"),
    )
    engine: str = option(
        "farthing",
        "What computes: this process, or an engine that is installed here and is started, watched and ended with it.",
        choices=("farthing", "sglang", "vllm"),
    )
    engine_args: str = option("", "Further flags for the engine's command line, quoted as in a shell.")
    engine_memory_fraction: float | None = option(
        None,
        "Share of the card's memory that the engine may take (default: its own).",
        minimum=0.01,
        maximum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.upstream is not None and self.engine != "farthing":
            raise SettingsError(
                f"upstream and engine {self.engine} were given together; an engine is an upstream of its own. Give one "
                "of them.",
                param="upstream",
            )
        if self.upstream is not None:
            for url in self.urls or [""]:
                check_http_url("upstream", url, EXAMPLE)

    @property
    def urls(self) -> list[str]:
        """The URLs of all upstreams."""
        return [url for part in (self.upstream or "").split(",") if (url := part.strip())]

    @property
    def is_used(self) -> bool:
        """Whether another server computes."""
        return self.upstream is not None or self.engine != "farthing"
