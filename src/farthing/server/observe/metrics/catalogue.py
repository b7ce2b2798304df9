"""All of our metrics, in the order of docs/metrics.md. Times are in seconds, sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping

from farthing.server.observe.metrics.metric import Metric

# The buckets reach from a cached single text to a large batch on a small machine.
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
STAGE_BUCKETS_S = (0.0001, 0.00025, 0.0005, *LATENCY_BUCKETS_S)
TOKEN_BUCKETS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
TEXT_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

# --- the server ---

BUILD_INFO = Metric("farthing_build_info", "gauge", "Always 1; what is running.", ("version", "python", "torch"))
READY = Metric("farthing_ready", "gauge", "1 while requests can be answered, as /health says, else 0.")

# --- requests ---

REQUESTS = Metric("farthing_http_requests_total", "counter", "Answered requests.", ("route", "status"))
REQUEST_SECONDS = Metric(
    "farthing_http_request_seconds",
    "histogram",
    "From a request's head to the end of its answer.",
    ("route",),
    LATENCY_BUCKETS_S,
)
IN_FLIGHT = Metric("farthing_http_requests_in_flight", "gauge", "Requests that are not answered yet.")
REQUEST_MEMORY_BYTES = Metric("farthing_request_memory_bytes", "gauge", "What requests in work are counted to hold.")
REQUEST_MEMORY_LIMIT_BYTES = Metric("farthing_request_memory_limit_bytes", "gauge", "The most of it (request_memory).")
REQUESTS_GAVE_WAY = Metric(
    "farthing_requests_gave_way_total",
    "counter",
    "Requests that were ended for their memory, because their clients kept them waiting.",
)
STAGE_SECONDS = Metric(
    "farthing_request_stage_seconds",
    "histogram",
    "Where a request's time went: read (its body), tokenise, queue, compute, write (its answer).",
    ("stage",),
    STAGE_BUCKETS_S,
)
ANSWERED_TEXTS = Metric("farthing_answered_texts_total", "counter", "Texts and pairs answered, computed for it or not.")
ANSWERED_TOKENS = Metric("farthing_answered_tokens_total", "counter", "Tokens of answered texts and pairs.")

# --- models ---

MODEL_INFO = Metric(
    "farthing_model_info", "gauge", "Always 1; how a loaded model is run now.", ("model", "device", "format")
)
WORKER_READY = Metric(
    "farthing_worker_ready", "gauge", "1 while the model can compute, 0 while its worker is dead.", ("model",)
)
WAITING_TEXTS = Metric("farthing_waiting_texts", "gauge", "Texts in the queue, by lane.", ("model", "lane"))
WAITING_TOKENS = Metric("farthing_waiting_tokens", "gauge", "Tokens in the queue, by lane.", ("model", "lane"))
EXPECTED_WAIT_SECONDS = Metric(
    "farthing_expected_wait_seconds",
    "gauge",
    "Until all that waits in a lane is computed, at the present speed; 0 while that is not known.",
    ("model", "lane"),
)
TOKENS_PER_SECOND = Metric(
    "farthing_tokens_per_second", "gauge", "Present speed of full batches; 0 while not known.", ("model",)
)
ADMITTED = Metric("farthing_admitted_requests_total", "counter", "Requests taken into the queue.", ("model",))
REFUSED = Metric(
    "farthing_refused_requests_total", "counter", "Requests that the queue did not take (429).", ("model",)
)
EXPIRED = Metric(
    "farthing_expired_requests_total", "counter", "Requests whose time was over before they were finished.", ("model",)
)
TEXTS = Metric("farthing_texts_total", "counter", "Texts computed.", ("model",))
TOKENS = Metric("farthing_tokens_total", "counter", "Tokens of computed texts, those that were saved too.", ("model",))
COMPUTED_TOKENS = Metric("farthing_computed_tokens_total", "counter", "Tokens that went through the model.", ("model",))
SAVED_TOKENS = Metric(
    "farthing_saved_tokens_total", "counter", "Tokens not computed, because other texts have them too.", ("model",)
)
BATCHES = Metric("farthing_batches_total", "counter", "Forward passes.", ("model",))
BATCH_SECONDS = Metric("farthing_batch_seconds_total", "counter", "Spent in forward passes.", ("model",))
FAILED_BATCHES = Metric("farthing_failed_batches_total", "counter", "Forward passes that raised.", ("model",))
OUT_OF_MEMORY_BATCHES = Metric(
    "farthing_out_of_memory_batches_total", "counter", "Forward passes that found too little memory.", ("model",)
)
RECOMPUTED_TEXTS = Metric("farthing_recomputed_texts_total", "counter", "Texts computed again in fp32.", ("model",))
WORKER_DEATHS = Metric("farthing_worker_deaths_total", "counter", "Deaths of the thread on the device.", ("model",))
QUEUE_WAIT_SECONDS = Metric(
    "farthing_queue_wait_seconds",
    "histogram",
    "From a text's arrival in the queue to the batch that takes it.",
    ("model",),
    LATENCY_BUCKETS_S,
)
BATCH_TOKENS = Metric(
    "farthing_batch_tokens", "histogram", "Tokens computed in a forward pass.", ("model",), TOKEN_BUCKETS
)
BATCH_TEXTS = Metric("farthing_batch_texts", "histogram", "Texts of a forward pass.", ("model",), TEXT_BUCKETS)
BATCH_DURATION_SECONDS = Metric(
    "farthing_batch_duration_seconds", "histogram", "Of one forward pass.", ("model",), LATENCY_BUCKETS_S
)

# --- memory ---

PLANNED_BYTES = Metric(
    "farthing_planned_bytes", "gauge", "Memory that the plan in force counts with.", ("model", "entry", "place")
)
MEMORY_STEP = Metric("farthing_memory_step", "gauge", "Steps taken to save memory at the moment.")
MEMORY_STEPS = Metric("farthing_memory_steps_total", "counter", "Steps taken to save memory, and back.", ("direction",))
MEMORY_USED_BYTES = Metric("farthing_memory_used_bytes", "gauge", "Memory held, by place.", ("place",))
MEMORY_LIMIT_BYTES = Metric("farthing_memory_limit_bytes", "gauge", "Memory that could be held, by place.", ("place",))

# --- the cache of vectors ---

CACHE_HITS = Metric("farthing_cache_hits_total", "counter", "Texts found in the cache, by level.", ("level",))
CACHE_MISSES = Metric("farthing_cache_misses_total", "counter", "Texts looked for in vain, by level.", ("level",))
CACHE_ENTRIES = Metric("farthing_cache_entries", "gauge", "Texts held in memory.")
CACHE_BYTES = Metric("farthing_cache_bytes", "gauge", "Memory held for them.")
CACHE_LIMIT_BYTES = Metric("farthing_cache_limit_bytes", "gauge", "The most of it.")
CACHE_EVICTIONS = Metric("farthing_cache_evictions_total", "counter", "Texts that made room.")
CACHE_ERRORS = Metric(
    "farthing_cache_errors_total",
    "counter",
    "Questions and writes to the store that failed or took too long.",
    ("level",),
)
CACHE_REFUSED = Metric(
    "farthing_cache_refused_total", "counter", "Texts under whose key the store held something else.", ("level",)
)
CACHE_DROPPED_WRITES = Metric(
    "farthing_cache_dropped_writes_total",
    "counter",
    "Texts not written, because the store was away or too slow.",
    ("level",),
)
CACHE_STORE_UP = Metric(
    "farthing_cache_store_up", "gauge", "0 while the store is left alone after failures.", ("level",)
)

# By the name of the field of `ServingStats`.
STATS: Mapping[str, Metric] = {
    "tokens_per_s": TOKENS_PER_SECOND,
    "admitted_requests_total": ADMITTED,
    "refused_requests_total": REFUSED,
    "expired_requests_total": EXPIRED,
    "texts_total": TEXTS,
    "tokens_total": TOKENS,
    "computed_tokens_total": COMPUTED_TOKENS,
    "saved_tokens_total": SAVED_TOKENS,
    "batches_total": BATCHES,
    "batch_seconds_total": BATCH_SECONDS,
    "failed_batches_total": FAILED_BATCHES,
    "out_of_memory_batches_total": OUT_OF_MEMORY_BATCHES,
    "recomputed_texts_total": RECOMPUTED_TEXTS,
    "worker_deaths_total": WORKER_DEATHS,
}


def catalogue() -> list[Metric]:
    """Return all metrics of this module."""
    return [value for value in globals().values() if isinstance(value, Metric)]
