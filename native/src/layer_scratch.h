// The layer's working memory: keys and values of the whole batch, and one tile a thread.
#pragma once

#include "kv.h"
#include "scratch.h"

namespace farthing {

constexpr int kTileAlign = kKeyPanel;  // tiles of keys begin at such tokens of a text

// One thread's memory for a tile of rows as they go through the layer.
struct TileScratch {
    QuantizedTile quantized;
    QuantizedTile inner;   // the MLP's
    float* row;            // [hidden]
    float* floats;         // [kTileRows][widest]: keys and values; queries, then attention's result; a group of the MLP
    uint16_t* queries;     // [kv_heads][kTileRows][group][head_dim]
    float* outputs;        // attention, see attention.h
    float *largest, *sums;
};

struct LayerScratch {
    LayerScratch(char* base, const ft_qwen3_spec& spec, int64_t num_tokens, int64_t num_texts) : carver_(base) {
        const int64_t kv_elements = padded_tokens_limit(num_tokens, num_texts) * spec.kv_heads * spec.head_dim;
        kv.keys = carver_.take<uint16_t>(kv_elements);
        kv.values = carver_.take<uint16_t>(kv_elements);
        kv.starts = carver_.take<int32_t>(num_texts + 1);
        kv.head_dim = spec.head_dim;
    }

    TileScratch take_tile(const ft_qwen3_spec& spec) {
        const size_t rows = kTileRows, q_width = static_cast<size_t>(spec.q_heads) * spec.head_dim;
        const size_t kv_width = static_cast<size_t>(spec.kv_heads) * spec.head_dim;
        const size_t hidden = spec.hidden, intermediate = spec.intermediate, group = spec.q_heads / spec.kv_heads;
        TileScratch tile;
        tile.quantized.values = carver_.take<uint8_t>(rows * round_up(std::max(hidden, q_width), 64));
        tile.quantized.scales = carver_.take<float>(rows);
        tile.inner.values = carver_.take<uint8_t>(rows * intermediate);
        tile.inner.scales = carver_.take<float>(rows * ((intermediate + kGroupInputs - 1) / kGroupInputs));
        tile.row = carver_.take<float>(hidden);
        tile.floats = carver_.take<float>(rows * (std::max({2 * kv_width, q_width, size_t{kGroupInputs}}) + 16));
        tile.queries = carver_.take<uint16_t>(rows * q_width);
        tile.outputs = carver_.take<float>(rows * group * spec.head_dim);
        tile.largest = carver_.take<float>(rows * group);
        tile.sums = carver_.take<float>(rows * group);
        return tile;
    }

    size_t used() const { return carver_.used(); }

    KvBuffers kv;

private:
    Carver carver_;
};

}  // namespace farthing
