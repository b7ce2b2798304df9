// Attention of the query heads that share a kv head, with the softmax kept running over chunks of keys
// (https://arxiv.org/abs/2205.14135): no memory in the square of a text's length, and keys and values are read once for
// all rows of a tile and all heads of the group. Both products run through bf16_block.
#include "attention.h"

#include <algorithm>
#include <cstring>

#include "bf16.h"
#include "blocks.h"
#include "exp2.h"
#include "kv_gather.h"
#include "lanes.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kChunkPanels = kKeyChunk / kKeyPanel;
constexpr float kMasked = -1e30f;

// One block of rows against one chunk of keys.
struct BlockBuffers {
    alignas(64) uint16_t queries[kBlockRows * kMaxHeadDim];
    alignas(64) float scores[kChunkPanels * kBlockRows * kKeyPanel];          // [panels][rows][32]
    alignas(64) uint16_t probabilities[kChunkPanels * kBlockRows * kKeyPanel];  // likewise
};

void load_queries(const uint16_t* queries, int rows, int head_dim, uint16_t* out) {
    for (int chunk = 0; chunk < head_dim / 32; ++chunk)
        for (int r = 0; r < rows; ++r, out += 32) std::memcpy(out, queries + r * head_dim + chunk * 32, 64);
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

// Scores of one row (its panels `stride` apart) to probabilities relative to exp2(largest); keys from `limit` on are
// masked. Returns their sum; `largest` grows where a score exceeds it.
float softmax_row(float* scores, int stride, int panels, int limit, float& largest, uint16_t* probabilities) {
    const int used = std::min(panels, limit > 0 ? (limit + kKeyPanel - 1) / kKeyPanel : 0);
    if (used > 0 && limit < used * kKeyPanel) mask_from(scores + (used - 1) * stride, limit - (used - 1) * kKeyPanel);
    Floats first = Floats{} + largest, second = first;
    for (int panel = 0; panel < used; ++panel) {
        first = larger(load_floats(scores + panel * stride), first);
        second = larger(load_floats(scores + panel * stride + kLanes), second);
    }
    largest = largest_of(larger(first, second));
    Floats sums = {};
    for (int panel = 0; panel < used; ++panel) {
        first = exp2_bf16(load_floats(scores + panel * stride) - largest);
        second = exp2_bf16(load_floats(scores + panel * stride + kLanes) - largest);
        sums += first + second;
        store_bf16(probabilities + panel * stride, first, second);
    }
    for (int panel = used; panel < panels; ++panel) std::memset(probabilities + panel * stride, 0, 2 * kKeyPanel);
    return sum_of(sums);
}

void write_block(const AttentionCall& call, Range rows, const float* outputs, const float* sums) {
    const int panels = call.head_dim / kPanelChannels;
    for (int r = rows.begin; r < rows.end; ++r, outputs += kPanelChannels) {
        const float inverse = 1.0f / sums[r];
        for (int panel = 0; panel < panels; ++panel) {
            const float* const from = outputs + panel * rows.size() * kPanelChannels;
            store_bf16(call.queries + static_cast<size_t>(r) * call.head_dim + panel * kPanelChannels,
                       load_floats(from) * inverse, load_floats(from + kLanes) * inverse);
        }
    }
}

// Against the chunk of keys that begins at `first_key`.
void attend_block(const AttentionCall& call, const AttentionScratch& scratch, Range rows, int first_key, const KvSpan& chunk,
                  BlockBuffers& buffers) {
    const int num_rows = rows.size(), head_dim = call.head_dim, head_chunks = head_dim / kKeyPanel;
    const int num_keys = call.limits[(rows.end - 1) / call.group];
    const int seen = std::min(kKeyChunk, num_keys - first_key), panels = (seen + kKeyPanel - 1) / kKeyPanel;
    const int panel_stride = num_rows * kKeyPanel;
    float* const outputs = scratch.outputs + static_cast<size_t>(rows.begin) * head_dim;

    load_queries(call.queries + static_cast<size_t>(rows.begin) * head_dim, num_rows, head_dim, buffers.queries);
    for (int panel = 0; panel < panels; ++panel) {
        const uint16_t* const keys = chunk.keys + static_cast<size_t>(panel * kKeyPanel) * head_dim;
        const int columns = seen - panel * kKeyPanel <= kLanes ? kLanes : kKeyPanel;
        bf16_block(num_rows, head_dim / 2, buffers.queries, keys, columns, false, buffers.scores + panel * panel_stride);
    }
    for (int r = 0; r < num_rows; ++r) {
        const int row = rows.begin + r, limit = call.limits[row / call.group] - first_key;
        float& largest = scratch.largest[row];
        const float before = largest;
        const float sum = softmax_row(buffers.scores + r * kKeyPanel, panel_stride, panels, limit, largest,
                                      buffers.probabilities + r * kKeyPanel);
        const float factor = first_key > 0 ? exp2_fast(before - largest) : 0.0f;
        scratch.sums[row] = scratch.sums[row] * factor + sum;
        if (first_key > 0 && largest > before) scale_row(outputs + r * kPanelChannels, num_rows, head_chunks, factor);
    }
    const int steps = static_cast<int>(round_up((seen + 1) / 2, kStepUnit));
    for (int panel = 0; panel < head_chunks; ++panel) {
        const uint16_t* const values = chunk.values + static_cast<size_t>(panel) * chunk.padded_length * kPanelChannels;
        bf16_block(num_rows, steps, buffers.probabilities, values, kPanelChannels, first_key > 0,
                   outputs + panel * panel_stride);
    }
    if (first_key + kKeyChunk >= num_keys) write_block(call, rows, outputs, scratch.sums);
}

}  // namespace

void attend(const AttentionCall& call, const AttentionScratch& scratch) {
    BlockBuffers buffers;
    const RowBlocks blocks(call.rows * call.group, kBlockRows);
    std::fill_n(scratch.largest, blocks.rows(), kMasked);
    std::fill_n(scratch.sums, blocks.rows(), 0.0f);
    const int num_keys = call.limits[call.rows - 1];
    const KeyGatherer keys(call.kv, call.head, call.text, scratch.gathered);
    for (int first_key = 0; first_key < num_keys; first_key += kKeyChunk) {
        const KvSpan chunk = keys.chunk(first_key, std::min(first_key + kKeyChunk, num_keys));
        for (int b = 0; b < blocks.count(); ++b)
            if (call.limits[(blocks[b].end - 1) / call.group] > first_key)
                attend_block(call, scratch, blocks[b], first_key, chunk, buffers);
    }
}

}  // namespace farthing::FT_ISA
