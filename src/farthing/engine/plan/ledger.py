"""What a model will hold in memory, byte by byte, before anything is loaded.

In: the model's shape and a way to run it. Out: a `Ledger` of entries, on the host and on the device. Pure arithmetic
from config.json; `benchmarks/memory_matrix.py` holds it against measured peaks. On a card it counts what torch takes,
not the driver's context.

The ledger includes the bytes that it takes to bring a matrix into its format, beyond the result. That part follows
`farthing.engine.weights.convert` and the formats' `linear`; only the largest matrix of a layer counts, since matrices
are converted one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from farthing.core.deferred import dataclass
from farthing.engine.plan.run_mode import DTYPE_BYTES, Dtype, ModelShape, Place, Way
from farthing.engine.plan.scratch import FP32_BYTES, Pass, native_pass_bytes, torch_pass_bytes
from farthing.models.forward.native_pass import layer_shape
from farthing.models.layout import Layout, MatrixPart
from farthing.models.spec import ModelSpec
from farthing.quant.format import WeightFormat, block_bytes
from farthing.quant.int8_packed import packed_bytes

MIB = 2**20
# Python with numpy, tokenizers and the server, what they allocate when they first run, and what the allocator keeps for
# later: measured peaks less the other entries (`python benchmarks/memory_matrix.py FOLDER ...`).
RUNTIME_BYTES = 70 * MIB
# What torch takes beside that, where it computes.
TORCH_BYTES = 220 * MIB
# The memory that torch gives cuBLAS and cuBLASLt to work in, on the cards where it gives most (Hopper, 32 MiB each).
CARD_LIBRARY_BYTES = 64 * MIB
# A tokenizer in memory takes at most this many bytes for each byte of its file.
TOKENIZER_FILE_FACTOR = 40
# glibc gives freed buffers above this back at once (DEFAULT_MMAP_THRESHOLD_MAX); smaller ones it may keep.
ALLOCATOR_KEEPS_BYTES = 32 * MIB
# The number of texts in a batch that is planned for; each text is padded to whole panels of keys.
PLANNED_TEXTS = 512


@dataclass(frozen=True)
class Entry:
    name: str
    place: Place
    num_bytes: int


@dataclass(frozen=True)
class Ledger:
    entries: tuple[Entry, ...]

    def total(self, place: Place) -> int:
        return sum(entry.num_bytes for entry in self.entries if entry.place == place)

    def own_bytes(self, place: Place) -> int:
        """The bytes that the model adds to a process that runs another model already."""
        return sum(entry.num_bytes for entry in self.entries if entry.place == place and entry.name != "runtime")

    def named(self, name: str) -> int:
        return sum(entry.num_bytes for entry in self.entries if entry.name == name)


def make_ledger(model: ModelShape, way: Way) -> Ledger:
    return Ledger(tuple(entry for entry in entries(model, way) if entry.num_bytes))


def entries(model: ModelShape, way: Way) -> Iterator[Entry]:
    layout, main = model.layout, way.main_place
    layer, shared = layer_bytes(layout, way), shared_bytes(layout)
    yield Entry("runtime", "host", RUNTIME_BYTES + (0 if way.is_native else TORCH_BYTES))
    if main == "device":
        yield Entry("libraries", main, CARD_LIBRARY_BYTES)
    yield Entry("tokenizer", "host", tokenizer_bytes(model))
    if way.residency == "resident":
        yield Entry("weights", main, len(way.shares(layout.num_layers)[0][1]) * layer + shared)
    elif way.residency == "host":
        yield Entry("weights", "host", layout.num_layers * pinned_bytes(layout, way))
        yield Entry("two layers", main, 2 * layer + shared)
    else:
        yield Entry("one layer", main, layer + shared)
    yield Entry("a layer unpacked", main, unpacked_bytes(layout, way))
    yield token_table(model, way)
    yield Entry("shared prefixes", main, way.prefix_bytes)
    yield Entry("working memory", main, working_bytes(model, way))


def token_table(model: ModelShape, way: Way) -> Entry:
    """The entry of the token table: the pages of its file, or a card's copy."""
    table = table_bytes(model.spec)
    if way.main_place == "device":
        return Entry("token table", "device" if way.keeps_table else "host", table)
    return Entry("token table", "host", table if way.keeps_table else 0)  # else its rows are read from the file


def unpacked_bytes(layout: Layout, way: Way) -> int:
    """The bytes of a layer as it is multiplied, where that is made for each batch (`farthing.quant.format`)."""
    if way.is_native:
        stored = [(part, part.stored_in(way.format)) for part in layout.matrices]
        made = [(part, form) for part, form in stored if form.unpacks_natively or lays_out_again(form, way)]
        return sum(block_bytes(form.form, *sizes(part)) for part, form in made)
    if not way.unpacks:
        return 0
    if way.format.is_packed_int8:
        return sum(packed_bytes(*sizes(part)) for part in layout.matrices)
    return sum(DTYPE_BYTES[way.dtype] * math.prod(sizes(part)) for part in layout.matrices)


def lays_out_again(form: WeightFormat, way: Way) -> bool:
    """Whether matrices, which are stored as plain numbers, are laid out for the native kernels for each batch."""
    return way.residency == "disk" and not form.quantises


def sizes(part: MatrixPart) -> tuple[int, int]:
    return part.shape.out_features, part.in_features


def table_bytes(spec: ModelSpec) -> int:
    return spec.vocab * spec.hidden * spec.stored_bytes


def layer_bytes(layout: Layout, way: Way) -> int:
    """The bytes of a layer as it is held: its matrices, their biases and its vectors."""
    is_laid_out = way.is_native and not way.format.quantises and way.residency == "resident"
    matrices = sum(
        block_bytes(way.format.form, *sizes(part)) if is_laid_out else part.num_bytes(way.format)
        for part in layout.matrices
    )
    return matrices + small_bytes(layout, way.dtype)


def small_bytes(layout: Layout, dtype: Dtype) -> int:
    """The bytes of a layer's biases, in `dtype`, and of its vectors, in fp32."""
    biases = sum(DTYPE_BYTES[dtype] * sum(part.out_features) for part in layout.matrices if part.bias)
    return biases + sum(FP32_BYTES * math.prod(part.shape) for part in layout.vectors)


def shared_bytes(layout: Layout) -> int:
    """The bytes of the vectors that belong to no layer."""
    return sum(FP32_BYTES * math.prod(part.shape) for part in layout.shared)


def stored_weight_bytes(layout: Layout, form: WeightFormat) -> int:
    """The bytes of all weights but the token embeddings in files of that format."""
    layer = sum(part.num_bytes(form) for part in layout.matrices) + small_bytes(layout, "fp32")
    return layout.num_layers * layer + shared_bytes(layout)


def pinned_bytes(layout: Layout, way: Way) -> int:
    """The bytes of a layer in pinned host memory, which torch hands out in powers of two."""
    return sum(1 << (part.num_bytes(way.format) - 1).bit_length() for part in layout.matrices)


def tokenizer_bytes(model: ModelShape) -> int:
    by_vocabulary = model.spec.token_memory_bytes * model.spec.vocab
    if model.tokenizer_bytes is None:
        return by_vocabulary
    return min(by_vocabulary, TOKENIZER_FILE_FACTOR * model.tokenizer_bytes)


def working_bytes(model: ModelShape, way: Way) -> int:
    """The most that is needed by a batch of the longest text, a batch of the token budget, or converting a layer.

    Layers from disk are converted while a pass waits. The allocator keeps the small buffers of the conversion beside
    those of the pass, and gives large ones back before the pass goes on.
    """
    longest = way.context_length
    texts = ((longest, 1), (way.max_batch_tokens, PLANNED_TEXTS))
    runs = [make_pass(model, way, num_tokens, num_texts, longest) for num_tokens, num_texts in texts]
    if way.is_native:
        shapes = {layer_shape(model.spec, layer, model.layout, way.format) for layer in set(model.spec.layers)}
        one_pass = max(native_pass_bytes(run, shapes, way.num_threads) for run in runs)
    else:
        one_pass = max(torch_pass_bytes(run) for run in runs)
    converting = converting_bytes(model, way)
    if way.residency != "disk":
        return max(one_pass, converting)
    if converting <= ALLOCATOR_KEEPS_BYTES:
        return one_pass + converting
    return max(one_pass, max(run.residual + run.positions for run in runs) + converting)


def make_pass(model: ModelShape, way: Way, num_tokens: int, num_texts: int, longest: int) -> Pass:
    return Pass(
        model.spec,
        num_tokens,
        min(num_texts, num_tokens),
        min(num_tokens, longest),
        way.chunk_tokens,
        DTYPE_BYTES[way.dtype],
        DTYPE_BYTES[way.residual_dtype],
        converted=converted_bytes(model.layout, way),
        on_card=way.on_card,
    )


def converted_bytes(layout: Layout, way: Way) -> int:
    """The bytes of the largest matrix as it is multiplied, where torch converts plain numbers for each product."""
    if way.is_native or way.format.quantises or way.format.name == way.dtype:
        return 0
    return max(DTYPE_BYTES[way.dtype] * math.prod(sizes(part)) for part in layout.matrices)


def converting_bytes(model: ModelShape, way: Way) -> int:
    """The bytes that it takes to convert the matrix of a layer that takes most."""
    if model.is_quantised:
        return 0
    return max(matrix_converting_bytes(model, way, part) for part in model.layout.matrices)


def matrix_converting_bytes(model: ModelShape, way: Way, part: MatrixPart) -> int:
    """The bytes that converting a matrix takes: its stored pieces (mapped), the joined pieces, and the result.

    The native kernels' blocks are held, or made in a region, and count there.
    """
    count, stored = sum(part.out_features) * part.in_features, model.spec.stored_bytes
    if way.format.quantises:
        # Each piece is treated in fp32 (farthing.engine.weights.convert) with gains and rotations; then all are joined.
        return count * stored + 3 * count * FP32_BYTES
    is_joined = len(part.sources) > 1
    if way.format.name == model.stored:  # nothing is made: the layer uses the joined pieces, or the one as it lies
        return count * stored if is_joined else 0
    return count * stored * (1 + is_joined)
