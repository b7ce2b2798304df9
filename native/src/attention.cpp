// Attention of the query heads that share a kv head, with the softmax kept running over chunks of keys
// (https://arxiv.org/abs/2205.14135): no memory in the square of a text's length, and keys and values are read once for
// all rows of a tile and all heads of the group. Both products run through bf16_block, or through float_block.
#include "attention.h"

#include <algorithm>
#include <cstring>

#include "bf16.h"
#include "blocks.h"
#include "blocks_float.h"
#include "exp2.h"
#include "kv_gather.h"
#include "lanes.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kChunkPanels = kKeyChunk / kKeyPanel;
constexpr float kMasked = -1e30f;

// How numbers are multiplied, and how rows of scores become probabilities: a row's numbers lie in chunks of 64 bytes.
template <class Number>
struct Products;

template <>
struct Products<uint16_t> {
    using Row = RowNumber;
    // No more rows than 32: with all keys of a chunk their buffers still fit into the L2 cache.
    static constexpr int kRows = std::min(kBlockRows, 32), kChunk = kChunkNumbers, kUnit = 2 * kStepUnit;
    static constexpr int kPiece = std::min(kPieceBf16, kChunk);
    static void multiply(int rows, int k, const Row* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
        bf16_block(rows, k / 2, a, b, columns, accumulate, sums);
    }
    FT_INLINE static Floats exp2(Floats x) { return exp2_bf16(x); }
    static float exp2(float x) { return exp2_fast(x); }
    // A panel of a row; to: the row's first piece in the first chunk.
    FT_INLINE static void store_probabilities(Floats first, Floats second, int panel, int rows, int stride, Row* to) {
        to += panel * (kKeyPanel / kChunk) * rows * kChunk;
#if defined(__ARM_FEATURE_MATMUL_INT8)
        store_bf16_pieces(to, stride, first);
        store_bf16_pieces(to + kLanes / kPiece * stride, stride, second);
#elif defined(__ARM_FEATURE_DOTPROD)
        store(to, first);
        store(to + rows * kChunk, second);
#else
        store_bf16(to, first, second);
#endif
    }
    FT_INLINE static void store_result(uint16_t* to, Floats x) { store_bf16(to, x); }
};

template <>
struct Products<float> {
    using Row = float;
    static constexpr int kRows = kFloatBlockRows, kChunk = kChunkFloats, kUnit = kInputUnit, kPiece = kChunk;
    static void multiply(int rows, int k, const float* a, const float* b, int columns, bool accumulate, float* sums) {
        static const FloatBlock block = float_block(FT_FP32);
        block(rows, k, a, b, columns, accumulate, Prefetch(), sums);
    }
    // Keys that are not seen count exactly nothing.
    FT_INLINE static Floats exp2(Floats x) { return select(x < -126.0f, Floats{}, exp2_exact(x)); }
    static float exp2(float x) { return exp2_exact(Floats{} + x)[0]; }
    FT_INLINE static void store_probabilities(Floats first, Floats second, int panel, int rows, int, float* to) {
        store(to + 2 * panel * rows * kChunk, first);
        store(to + (2 * panel + 1) * rows * kChunk, second);
    }
    FT_INLINE static void store_result(float* to, Floats x) { store(to, x); }
};

// One block of rows against one chunk of keys.
template <class Number>
struct BlockBuffers {
    static constexpr int kRows = Products<Number>::kRows;
    using Row = typename Products<Number>::Row;
    alignas(64) Row queries[kRows * kMaxHeadDim];                     // [chunks][rows][kChunk]
    alignas(64) float scores[kChunkPanels * kRows * kKeyPanel];       // [panels][rows][32]
    alignas(64) Row probabilities[kChunkPanels * kRows * kKeyPanel];  // [chunks][rows][kChunk]
};

// What a head lacks to a whole chunk is zeros.
inline void load_queries(const uint16_t* queries, int rows, int head_dim, float* out) {
    static_assert(kChunkFloats == kLanes);
    for (int first = 0; first < head_dim; first += kLanes)
        for (int r = 0; r < rows; ++r, out += kLanes) load_bf16_row(queries + r * head_dim + first, kLanes, out);
}

template <class Number>
void load_queries(const Number* queries, int rows, int head_dim, Number* out) {
    constexpr int kChunk = Products<Number>::kChunk, kPiece = Products<Number>::kPiece;
    if constexpr (kPiece < kChunk) {  // products end with the head, so that what follows it in a chunk is not read
        for (int r = 0; r < rows; ++r, queries += head_dim) {
            const RowPlace place = row_place<kChunk, kPiece>(rows, r);
            for (int first = 0; first < head_dim; first += kLanes) {
                Number* const to = out + first / kChunk * rows * kChunk + place.first + first % kChunk / kPiece * place.stride;
#pragma GCC unroll 4
                for (int i = 0; i < kLanes / kPiece; ++i)
                    std::memcpy(to + i * place.stride, queries + first + i * kPiece, sizeof(Number) * kPiece);
            }
        }
        return;
    }
    int first = 0;
    for (; first + kChunk <= head_dim; first += kChunk)
        for (int r = 0; r < rows; ++r, out += kChunk) std::memcpy(out, queries + r * head_dim + first, sizeof(Number) * kChunk);
    if (first == head_dim) return;
    for (int r = 0; r < rows; ++r, out += kChunk) {
        std::memcpy(out, queries + r * head_dim + first, sizeof(Number) * (head_dim - first));
        std::memset(out + head_dim - first, 0, sizeof(Number) * (first + kChunk - head_dim));
    }
}

inline void scale_row(float* outputs, int rows, int panels, float factor) {
    for (int panel = 0; panel < panels; ++panel, outputs += rows * kPanelChannels)
        for (int c = 0; c < kPanelChannels; c += kLanes) store(outputs + c, load_floats(outputs + c) * factor);
}

// A panel's scores from `limit` on. By whole vectors: narrower stores could not be forwarded to the loads that follow.
inline void mask_from(float* scores, int limit) {
    const Ints lane = lane_numbers();
    const Floats masked = Floats{} + kMasked;
    store(scores, select(lane < limit, load_floats(scores), masked));
    store(scores + kLanes, select(lane < limit - kLanes, load_floats(scores + kLanes), masked));
}

// And a panel's scores before `first`.
inline void mask_before(float* scores, int first) {
    const Ints lane = lane_numbers();
    const Floats masked = Floats{} + kMasked;
    store(scores, select(lane < first, masked, load_floats(scores)));
    store(scores + kLanes, select(lane < first - kLanes, masked, load_floats(scores + kLanes)));
}

// Keys that a row sees, by their places in a chunk.
struct Seen {
    int first, limit;
};

// Scores of one of `rows` rows to probabilities relative to exp2(largest); keys that are not seen are masked. Returns their
// sum; `largest` grows where a score exceeds it.
template <class Number>
float softmax_row(float* scores, int rows, int panels, Seen seen, float& largest,
                  typename Products<Number>::Row* probabilities, int piece_stride) {
    using Multiplied = Products<Number>;
    const int stride = rows * kKeyPanel, limit = seen.limit;
    const int used = std::min(panels, limit > 0 ? (limit + kKeyPanel - 1) / kKeyPanel : 0);
    const int begin = seen.first > 0 ? std::min(used, seen.first / kKeyPanel) : 0;
    if (used > 0 && limit < used * kKeyPanel) mask_from(scores + (used - 1) * stride, limit - (used - 1) * kKeyPanel);
    if (begin < used && seen.first > begin * kKeyPanel) mask_before(scores + begin * stride, seen.first - begin * kKeyPanel);
    for (int panel = 0; panel < begin; ++panel)
        Multiplied::store_probabilities(Floats{}, Floats{}, panel, rows, piece_stride, probabilities);
    Floats first = Floats{} + largest, second = first;
    for (int panel = begin; panel < used; ++panel) {
        first = larger(load_floats(scores + panel * stride), first);
        second = larger(load_floats(scores + panel * stride + kLanes), second);
    }
    largest = largest_of(larger(first, second));
    Floats sums = {};
    for (int panel = begin; panel < used; ++panel) {
        first = Multiplied::exp2(load_floats(scores + panel * stride) - largest);
        second = Multiplied::exp2(load_floats(scores + panel * stride + kLanes) - largest);
        sums += first + second;
        Multiplied::store_probabilities(first, second, panel, rows, piece_stride, probabilities);
    }
    for (int panel = used; panel < panels; ++panel)
        Multiplied::store_probabilities(Floats{}, Floats{}, panel, rows, piece_stride, probabilities);
    return sum_of(sums);
}

template <class Number>
void write_block(const AttentionCall<Number>& call, Range rows, const float* outputs, const float* sums) {
    for (int r = rows.begin; r < rows.end; ++r, outputs += kPanelChannels) {
        const float inverse = 1.0f / sums[r];
        Number* const to = call.queries + static_cast<size_t>(r) * call.head_dim;
        for (int c = 0; c < call.head_dim; c += kLanes)
            Products<Number>::store_result(
                to + c, load_floats(outputs + c / kPanelChannels * rows.size() * kPanelChannels + c % kPanelChannels) * inverse);
    }
}

// One row's scores of all panels, with what its keys get by their distance.
inline void add_biases(float* scores, int rows, int panels, const float* biases) {
    for (int panel = 0; panel < panels; ++panel, scores += rows * kKeyPanel, biases += kKeyPanel)
        for (int c = 0; c < kKeyPanel; c += kLanes) store(scores + c, load_floats(scores + c) + load_floats(biases + c));
}

// The first chunk of keys that rows see.
template <class Number>
int first_chunk(const AttentionCall<Number>& call, Range rows) {
    return call.firsts ? call.firsts[rows.begin / call.group] / kKeyChunk * kKeyChunk : 0;
}

// Against the chunk of keys that begins at `chunk_key`.
template <class Number>
void attend_block(const AttentionCall<Number>& call, const AttentionScratch& scratch, Range rows, int chunk_key,
                  KvSpan<Number> chunk, BlockBuffers<Number>& buffers) {
    using Multiplied = Products<Number>;
    const int num_rows = rows.size(), head_dim = call.head_dim, value_panels = call.kv.value_width / kPanelChannels;
    const int num_keys = call.limits[(rows.end - 1) / call.group];
    const bool is_first = chunk_key == first_chunk(call, rows);
    int first_key = chunk_key;
    if (call.firsts) {  // panels that no row of the block sees
        const int unseen = std::max(0, call.firsts[rows.begin / call.group] - chunk_key) / kKeyPanel * kKeyPanel;
        first_key += unseen;
        chunk.keys += static_cast<size_t>(unseen) * head_dim;
        chunk.values += static_cast<size_t>(unseen) * kPanelChannels;
    }
    const int seen = std::min(chunk_key + kKeyChunk, num_keys) - first_key, panels = (seen + kKeyPanel - 1) / kKeyPanel;
    const int panel_stride = num_rows * kKeyPanel;
    float* const outputs = scratch.outputs + static_cast<size_t>(rows.begin) * call.kv.value_width;

    load_queries(call.queries + static_cast<size_t>(rows.begin) * head_dim, num_rows, head_dim, buffers.queries);
    for (int panel = 0; panel < panels; ++panel) {
        const Number* const keys = chunk.keys + static_cast<size_t>(panel * kKeyPanel) * head_dim;
        const int columns = seen - panel * kKeyPanel <= kLanes ? kLanes : kKeyPanel;
        Multiplied::multiply(num_rows, head_dim, buffers.queries, keys, columns, false, buffers.scores + panel * panel_stride);
    }
    for (int r = 0; r < num_rows; ++r) {
        const int row = rows.begin + r, query = row / call.group;
        const Seen keys{call.firsts ? call.firsts[query] - first_key : 0, call.limits[query] - first_key};
        float* const scores = buffers.scores + r * kKeyPanel;
        if (call.biases)
            add_biases(scores, num_rows, panels,
                       call.biases + row % call.group * call.bias_stride + call.bias_begins[query] + first_key);
        float& largest = scratch.largest[row];
        const float before = largest;
        const RowPlace place = row_place<Multiplied::kChunk, Multiplied::kPiece>(num_rows, r);
        const float sum = softmax_row<Number>(scores, num_rows, panels, keys, largest, buffers.probabilities + place.first,
                                              place.stride);
        const float factor = is_first || before == kMasked ? 0.0f : Multiplied::exp2(before - largest);
        scratch.sums[row] = scratch.sums[row] * factor + sum;
        if (!is_first && largest > before) scale_row(outputs + r * kPanelChannels, num_rows, value_panels, factor);
    }
    const int k = static_cast<int>(round_up(seen, Multiplied::kUnit));
    for (int panel = 0; panel < value_panels; ++panel) {
        const Number* const values = chunk.values + static_cast<size_t>(panel) * chunk.padded_length * kPanelChannels;
        const int columns = std::min(kPanelChannels, head_dim - panel * kPanelChannels);
        Multiplied::multiply(num_rows, k, buffers.probabilities, values, columns, !is_first, outputs + panel * panel_stride);
    }
    if (chunk_key + kKeyChunk >= num_keys) write_block(call, rows, outputs, scratch.sums);
}

}  // namespace

template <class Number>
void attend(const AttentionCall<Number>& call, const AttentionScratch& scratch) {
    BlockBuffers<Number> buffers;
    const RowBlocks blocks(call.rows * call.group, Products<Number>::kRows);
    std::fill_n(scratch.largest, blocks.rows(), kMasked);
    std::fill_n(scratch.sums, blocks.rows(), 0.0f);
    const int num_keys = call.limits[call.rows - 1];
    const KeyGatherer<Number> keys(call.kv, call.head, call.text, scratch.gathered);
    for (int first_key = first_chunk(call, {0, 1}); first_key < num_keys; first_key += kKeyChunk) {
        const KvSpan<Number> chunk = keys.chunk(first_key, std::min(first_key + kKeyChunk, num_keys));
        for (int b = 0; b < blocks.count(); ++b)
            if (call.limits[(blocks[b].end - 1) / call.group] > first_key && first_chunk(call, blocks[b]) <= first_key)
                attend_block(call, scratch, blocks[b], first_key, chunk, buffers);
    }
}

template void attend(const AttentionCall<uint16_t>& call, const AttentionScratch& scratch);
template void attend(const AttentionCall<float>& call, const AttentionScratch& scratch);

}  // namespace farthing::FT_ISA
