// The layer's working memory: keys and values of the whole batch, and one tile a thread.
#pragma once

#include "cache.h"
#include "kv_gather.h"
#include "layer_shape.h"
#include "numbers.h"
#include "scratch.h"

namespace farthing::FT_ISA {

constexpr int kTileAlign = kKeyPanel;  // tiles of keys begin at such tokens of a text
// Inner channels of the MLP that exist at once in exact forms: in fp32 all of them would not fit into the L2 cache.
constexpr int kSliceChannels = 512;

// Distance of rows in a tile of floats: were it a power of two, all rows of a block would fall into one cache set.
constexpr size_t row_stride(int width) { return static_cast<size_t>(width) + 16; }

// Rows that a thread takes through a layer at once.
template <class Numbers>
int tile_rows(const LayerShape& shape) {
    if constexpr (!Numbers::kIsExact) return kTileRows;
    // Rows in fp32 that fill half of the L2 cache. Few enough to need several tiles of keys are worse than rows from further away.
    constexpr int kLeastRows = 62;
    const int64_t rows = l2_cache_bytes() / 2 / (static_cast<int64_t>(shape.hidden) * sizeof(float));
    return static_cast<int>(std::min<int64_t>(kTileRows, std::max<int64_t>(kLeastRows, rows)));
}

// One thread's memory for a tile of rows as they go through the layer.
template <class Numbers>
struct TileScratch {
    typename Numbers::Tile entered;       // rows that enter a product
    typename Numbers::Tile inner;         // the MLP's: all channels, or in a thread's own tile of an exact form a slice
    float* row;                           // [hidden or q_width]
    float* head;                          // [rows][heads_at_once * head_dim]: keys, values or queries
    float* group;                         // [rows][kGroupStride] of the MLP's inner rows, before they are int8
    void* gathered;                       // a KeyGatherer's keys and values; in the same place as the MLP's inner rows
    float* unnormed;                      // [rows][hidden], where a product is normed, alone or added to the residual
    typename Numbers::Attended* queries;  // [kv_heads][rows][group][head_dim], then attention's result
    float* outputs;                       // attention, see attention.h
    float *largest, *sums;
};

template <class Numbers>
struct LayerScratch {
    using Attended = typename Numbers::Attended;

    LayerScratch(char* base, const LayerShape& shape, int64_t num_tokens, int64_t num_texts)
        : rows(tile_rows<Numbers>(shape)), carver_(base) {
        const int64_t padded_tokens = padded_tokens_limit(num_tokens, num_texts);
        kv.kv_heads = shape.kv_heads;
        kv.head_dim = shape.head_dim;
        kv.value_width = value_width(shape.head_dim);
        kv.keys = carver_.take<Attended>(padded_tokens * shape.kv_width());
        kv.values = carver_.take<Attended>(padded_tokens * kv.kv_heads * kv.value_width);
        kv.starts = carver_.take<int32_t>(num_texts + 1);
        kv.num_texts = static_cast<int>(num_texts);
        kv.prefixes = nullptr;
    }

    // holds_all: of the inner rows of an exact form.
    TileScratch<Numbers> take_tile(const LayerShape& shape, bool holds_all) {
        const size_t group = shape.group(), gathered_bytes = KeyGatherer<Attended>::memory_bytes(shape.head_dim);
        const int widest_input = std::max(shape.hidden, shape.q_width());
        TileScratch<Numbers> tile;
        if constexpr (Numbers::kIsExact) {
            const int inner = holds_all ? shape.intermediate : std::min(shape.intermediate, kSliceChannels);
            tile.entered.values = carver_.take<float>(rows * widest_input);
            tile.gathered = carver_.take<char>(std::max(gathered_bytes, rows * inner * sizeof(float)));
            tile.inner.values = static_cast<float*>(tile.gathered);
            tile.group = nullptr;
        } else {
            tile.entered.values = carver_.take<Input>(rows * round_up(widest_input, kChunkBytes));
            tile.entered.scales = carver_.take<float>(rows);
            tile.inner.values = carver_.take<Input>(rows * round_up(shape.intermediate, kChunkBytes));
            tile.inner.scales = carver_.take<float>(rows * ((shape.intermediate + kGroupInputs - 1) / kGroupInputs));
            tile.gathered = carver_.take<char>(std::max(gathered_bytes, rows * kGroupStride * sizeof(float)));
            tile.group = static_cast<float*>(tile.gathered);
        }
        tile.row = carver_.take<float>(widest_input);
        tile.head = carver_.take<float>(rows * row_stride(shape.heads_at_once() * shape.head_dim));
        tile.unnormed = carver_.take<float>(shape.norms_sums || shape.norms_added ? rows * row_stride(shape.hidden) : 0);
        tile.queries = carver_.take<Attended>(rows * shape.q_width());
        tile.outputs = carver_.take<float>(rows * group * kv.value_width);
        tile.largest = carver_.take<float>(rows * group);
        tile.sums = carver_.take<float>(rows * group);
        return tile;
    }

    size_t used() const { return carver_.used(); }

    const size_t rows;  // of a tile
    KvBuffers<Attended> kv;

private:
    Carver carver_;
};

}  // namespace farthing::FT_ISA
