// The layer's working memory: keys and values of the whole batch, and one tile a thread.
#pragma once

#include "kv.h"
#include "scratch.h"

namespace farthing {

constexpr int kTileAlign = kKeyPanel;  // tiles of keys begin at such tokens of a text

struct LayerShape {
    int hidden, intermediate, q_heads, kv_heads, head_dim;
    bool norms_sums;

    explicit LayerShape(const ft_layer_spec& spec)
        : hidden(spec.hidden), intermediate(spec.intermediate), q_heads(spec.q_heads), kv_heads(spec.kv_heads),
          head_dim(spec.head_dim), norms_sums(spec.norms_sums) {}

    int q_width() const { return q_heads * head_dim; }
    int kv_width() const { return kv_heads * head_dim; }
    int group() const { return q_heads / kv_heads; }
};

// Distance of rows in a tile of floats: were it a power of two, all rows of a block would fall into one cache set.
constexpr size_t row_stride(int width) { return static_cast<size_t>(width) + 16; }

// One thread's memory for a tile of rows as they go through the layer.
struct TileScratch {
    QuantizedTile quantized;
    QuantizedTile inner;   // the MLP's
    float* row;            // [hidden or q_width]
    float* head;           // [kTileRows][head_dim]: keys, values or queries of one head
    float* group;          // [kTileRows][kGroupStride]: a group of the MLP's inner rows, or a KeyGatherer's keys and values
    float* unnormed;       // [kTileRows][hidden], where sums are normed: a product and the residual
    uint16_t* queries;     // [kv_heads][kTileRows][group][head_dim], then attention's result
    float* outputs;        // attention, see attention.h
    float *largest, *sums;
};

struct LayerScratch {
    LayerScratch(char* base, const LayerShape& shape, int64_t num_tokens, int64_t num_texts) : carver_(base) {
        const int64_t kv_elements = padded_tokens_limit(num_tokens, num_texts) * shape.kv_width();
        kv.keys = carver_.take<uint16_t>(kv_elements);
        kv.values = carver_.take<uint16_t>(kv_elements);
        kv.starts = carver_.take<int32_t>(num_texts + 1);
        kv.num_texts = static_cast<int>(num_texts);
        kv.kv_heads = shape.kv_heads;
        kv.head_dim = shape.head_dim;
        kv.prefixes = nullptr;
    }

    // input_bytes: of a quantised input (Input in blocks.h).
    TileScratch take_tile(const LayerShape& shape, size_t input_bytes) {
        const size_t rows = kTileRows, group = shape.group(), widest_input = std::max(shape.hidden, shape.q_width());
        TileScratch tile;
        tile.quantized.values = carver_.take<uint8_t>(rows * round_up(widest_input, kChunkBytes) * input_bytes);
        tile.quantized.scales = carver_.take<float>(rows);
        tile.inner.values = carver_.take<uint8_t>(rows * shape.intermediate * input_bytes);
        tile.inner.scales = carver_.take<float>(rows * ((shape.intermediate + kGroupInputs - 1) / kGroupInputs));
        tile.row = carver_.take<float>(widest_input);
        tile.head = carver_.take<float>(rows * row_stride(shape.head_dim));
        tile.group = carver_.take<float>(rows * kGroupStride);
        tile.unnormed = carver_.take<float>(shape.norms_sums ? rows * row_stride(shape.hidden) : 0);
        tile.queries = carver_.take<uint16_t>(rows * shape.q_width());
        tile.outputs = carver_.take<float>(rows * group * shape.head_dim);
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
