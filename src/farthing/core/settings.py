"""What a user can set, in frozen groups, each field with its help text and limits.

In: nothing. Out: dataclasses whose instances are valid by construction (`__post_init__` checks every field).
`farthing.core.resolve` merges file, environment and flags into them; the command line and docs/settings.md are
generated from the fields. Nothing here reads the environment, and nothing changes an instance after it was made:
"auto" stays "auto" here and is resolved into a new object by `farthing.engine.plan`.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, get_args, get_type_hints

from farthing.core.errors import SettingsError
from farthing.core.sizes import parse_bytes

QUANTISED_FORMATS = ("int8", "nf4", "fp8")  # that `farthing quantize` writes


def option(
    default: Any,
    help: str,
    *,
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A settings field. `flags` are further spellings on the command line (`--name-of-field` always works)."""
    metadata = {"help": help, "flags": flags, "choices": choices, "minimum": minimum, "maximum": maximum}
    return field(default=default, metadata=metadata)


def base_type(kind: type[Checked], name: str) -> type:
    """The field's type without `| None`."""
    hint = get_type_hints(kind)[name]
    options = [option for option in get_args(hint) if option is not type(None)]
    chosen = options[0] if options else hint
    assert isinstance(chosen, type)
    return chosen


def is_of_type(value: object, wanted: type) -> bool:
    """Whether `value` can stand in a field of that type; whole numbers are numbers, True and False are not."""
    if wanted in (int, float):
        return isinstance(value, (int, wanted)) and not isinstance(value, bool)
    return isinstance(value, wanted)


def check_field(item: Field[Any], wanted: type, value: object) -> None:
    """Raise `SettingsError` when `value` is of another type, none of the choices, or outside the limits."""
    if value is None and item.default is None:
        return
    if not is_of_type(value, wanted):
        raise SettingsError(f"{item.name} is {value!r}; it must be of type {wanted.__name__}", param=item.name)
    choices, low, high = (item.metadata.get(key) for key in ("choices", "minimum", "maximum"))
    if choices and value not in choices:
        raise SettingsError(f"{item.name} is {value!r}; available: {', '.join(choices)}", param=item.name)
    what = "a whole number" if wanted is int else "a number"
    # Negated, so that a NaN is refused too.
    if low is not None and not value >= low:
        raise SettingsError(f"{item.name} is {value!r}; it must be {what} of at least {low}", param=item.name)
    if high is not None and not value <= high:
        raise SettingsError(
            f"{item.name} is {value!r}; it must be {what} of at most {high}. {item.metadata['help']}",
            param=item.name,
        )


class Checked:
    """Mixin: check every field when an instance is made."""

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            assert item.default is not MISSING, f"{item.name} needs a default"
            check_field(item, base_type(type(self), item.name), getattr(self, item.name))


@dataclass(frozen=True)
class SourceSettings(Checked):
    """Where the model comes from."""

    revision: str | None = option(None, "Branch, tag or commit of a hub model.")
    cache_dir: str | None = option(None, "Folder for downloads (default: ~/.cache/farthing, hubs use their own).")
    offline: bool = option(False, "Use only what is on this machine.")


@dataclass(frozen=True)
class EngineSettings(Checked):
    """How the model is held and computed."""

    device: str = option(
        "auto",
        "Device: auto, cpu, cuda, or cuda:N; several cards (cuda:0,cuda:1) share the layers of a model that one cannot "
        "hold.",
    )
    format: str = option(
        "auto",
        "Weight format; auto and none take what the device computes fastest without loss. nf4 takes the least memory.",
        flags=("--quantization",),
        choices=("auto", "none", "fp32", "bf16", "fp16", *QUANTISED_FORMATS),
    )
    memory: str = option(
        "auto",
        "Most memory to use: on a CPU of the whole process, on a card of the card. A size such as 6GB or 900MiB; auto "
        "takes what is free, less a tenth; none plans without a limit.",
    )
    residency: str = option(
        "auto",
        "Where layers live: on the device (resident), in pinned host memory, copied for each batch (host), or in the "
        "file, read for each batch (disk). auto takes the first that fits.",
        choices=("auto", "resident", "host", "disk"),
    )
    context_length: int | None = option(
        None,
        "Most tokens of one text (default: the model's own limit).",
        flags=("--max-sequence-length", "--max-model-len"),
        minimum=1,
    )
    max_batch_tokens: int | None = option(None, "Token budget of one forward pass (default: by device).", minimum=1)
    share_prefixes: str = option(
        "auto",
        "Compute tokens that texts of a batch share at their beginning once: causal models on a CPU (auto), wherever "
        "it is built (on), never (off).",
        choices=("auto", "on", "off"),
    )
    prefix_cache: str = option(
        "auto",
        "Memory for keys and values of beginnings that come back, such as instructions, where they are shared. A size "
        "such as 64MiB; 0B holds none; auto takes 64 MiB or a 32nd of the memory.",
    )
    num_threads: int | None = option(
        None, "CPU threads of the forward pass (default: physical cores, within cgroup limits).", minimum=1
    )
    min_fidelity: float = option(
        0.95,
        "Least mean cosine to the exact model that a folder of quantised weights may have; 0 accepts any.",
        minimum=0,
        maximum=1,
    )
    tensor_parallel_size: int = option(
        1,
        "GPUs that share each layer. Only 1 is built: run one server a GPU behind a load balancer, or, where the model "
        "does not fit one GPU, give several as device (cuda:0,cuda:1), which share the layers between them.",
        flags=("--tp-size", "--tp"),
        minimum=1,
        maximum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory not in ("auto", "none") and not parse_bytes(self.memory):
            raise SettingsError(
                f"memory is {self.memory!r}; it must be a size such as 6GB or 900MiB, or auto, or none", param="memory"
            )
        if self.prefix_cache != "auto" and parse_bytes(self.prefix_cache) is None:
            raise SettingsError(
                f"prefix_cache is {self.prefix_cache!r}; it must be a size such as 64MiB or 0B, or auto",
                param="prefix_cache",
            )


@dataclass(frozen=True)
class ServingSettings(Checked):
    """How requests are cleaned, queued and batched."""

    max_running_requests: int = option(256, "Most requests in work at once; further ones wait their turn.", minimum=1)
    max_batch_size: int = option(512, "Most texts of one forward pass.", minimum=1)
    max_texts_per_request: int = option(8192, "Most texts of one request.", minimum=1)
    max_queue_texts: int = option(100_000, "Most texts waiting; beyond it requests are refused (429).", minimum=1)
    tokenizer_threads: int = option(2, "Threads that clean and tokenise.", minimum=1)
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
    memory_high: float = option(
        0.9, "Share of what could be held from which memory counts as short.", minimum=0.1, maximum=1
    )
    fallback_model: str | None = option(
        None, "A small model that answers requests for the model auto while memory is very short."
    )
    on_worker_death: str = option(
        "restart",
        "When the thread on the device dies: start a new one, or exit the process with status 70.",
        choices=("restart", "exit"),
    )


@dataclass(frozen=True)
class ServerSettings(Checked):
    """The HTTP server."""

    host: str = option("127.0.0.1", "Address to listen on.")
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
    max_body_bytes: int = option(64 * 1024 * 1024, "Largest request body, in bytes.", minimum=1024)
    log_level: str = option("info", "How much is logged.", choices=("debug", "info", "warning", "error"))


GROUPS: tuple[type[Checked], ...] = (SourceSettings, EngineSettings, ServingSettings, ServerSettings)
