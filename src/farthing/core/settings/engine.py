"""How a model is held and computed."""

from __future__ import annotations

from dataclasses import replace

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.settings.field import Checked, option
from farthing.core.sizes import parse_bytes

QUANTISED_FORMATS = ("int8", "nf4", "fp8")  # the formats that `farthing quantize` writes


@dataclass(frozen=True)
class EngineSettings(Checked):
    """How the model is held and computed."""

    device: str = option(
        "auto",
        "Device: auto, cpu, cuda, or cuda:N; several cards (cuda:0,cuda:1) share the layers of a model that one cannot "
        "hold; torch-cpu computes as a card does. All but cpu need farthing[cuda].",
    )
    format: str = option(
        "auto",
        "Weight format; auto takes int8 on a CPU, made once, and on a card what it computes fastest without loss; none "
        "never rounds. nf4 takes the least memory.",
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
        "Least mean cosine to the exact model that quantised weights may have, else auto stays exact; 0 accepts any.",
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

    def less_memory(self, num_bytes: int) -> EngineSettings:
        """The settings with `num_bytes` less memory, if it was given as a size; free memory shrinks by itself."""
        if self.memory in ("auto", "none"):
            return self
        left = (parse_bytes(self.memory) or 0) - num_bytes
        return replace(self, memory=f"{max(1, left)}B")
