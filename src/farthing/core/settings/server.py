"""Settings of the HTTP server."""

from __future__ import annotations

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.settings.field import Checked, option
from farthing.core.sizes import parse_bytes


@dataclass(frozen=True)
class ServerSettings(Checked):
    """The HTTP server."""

    host: str = option("127.0.0.1", "Address to listen on; localhost is both 127.0.0.1 and ::1.")
    port: int = option(30000, "Port to listen on (0: any free one).", minimum=0, maximum=65535)
    served_model_name: str | None = option(None, "Name clients use for the model (default: as given).")
    task: str = option(
        "auto",
        "What MODEL is for: vectors (embed), or scores of pairs (rerank). auto takes what its architecture says, "
        "which of a Qwen3-Reranker is vectors.",
        choices=("auto", "embed", "rerank"),
    )
    reranker: str | None = option(None, "A model that scores pairs, served beside MODEL and in the same memory.")
    served_reranker_name: str | None = option(None, "Name clients use for the reranker (default: as given).")
    index_folder: str | None = option(
        None,
        "Folder of indexes, or milvus:URI, that /v1/indexes answers for and adds new ones to (default: no routes).",
    )
    max_body_bytes: int = option(
        16 * 1024 * 1024,
        "Largest request body, in bytes. While a body is parsed nothing else is answered, for about 4 ms a MiB.",
        minimum=1024,
    )
    max_body_values: int = option(
        400_000,
        "Most JSON values of a request body, each of which takes time to parse: texts and token ids; fields, lists and "
        "objects count twice.",
        minimum=1024,
    )
    unknown_fields: str = option(
        "ignore",
        "Fields of a request body that are neither known here nor nearly a known name: answer all the same and name "
        "them in the header x-farthing-ignored, or refuse the request (error).",
        choices=("ignore", "error"),
    )
    token_ids: str = option(
        "accept",
        "Token ids instead of texts in requests for vectors: take them as the model's own, and warn (accept), refuse "
        "them, or make texts of them by another vocabulary (decode).",
        choices=("accept", "refuse", "decode"),
    )
    token_ids_vocabulary: str = option(
        "cl100k_base",
        "Whose token ids are decoded: the path of a tokenizer.json, or the name of a vocabulary of OpenAI's (needs the "
        "extra tiktoken, which downloads it).",
    )
    request_memory: str = option(
        "auto",
        "Most memory that requests in work may hold together: bodies that come in, answers that clients have not read. "
        "Beyond it requests wait, and those that come too late are refused (429). A size such as 256MiB; auto takes "
        "512 MiB or a 16th of the memory.",
    )
    drain_delay_s: float = option(
        0.0,
        "Seconds after SIGTERM in which requests are still taken while /health says 503, so that balancers turn away.",
        minimum=0,
    )
    drain_timeout_s: int = option(
        25, "Seconds after that in which accepted requests are finished; what is left then gets 503.", minimum=0
    )
    log_level: str = option("info", "How much is logged.", choices=("debug", "info", "warning", "error"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.request_memory != "auto" and not parse_bytes(self.request_memory):
            raise SettingsError(
                f"request_memory is {self.request_memory!r}; it must be a size such as 256MiB, or auto",
                param="request_memory",
            )
