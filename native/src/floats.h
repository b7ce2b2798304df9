// Matrices and rows of exact forms: weights as they are stored, rows in fp32.
#pragma once

#include "../include/farthing_native.h"
#include "tile.h"

namespace farthing {

constexpr int kChunkFloats = 16;  // inputs of a chunk: 64 bytes of a row

// Output channels go in panels of 32, a panel as [k][32] numbers; what n lacks to 32 and k to 16 is zeros.
class FloatMatrix {
public:
    FloatMatrix(int form, const void* bytes, int n, int k)
        : bytes_(static_cast<const char*>(bytes)), n_(n), padded_k_(static_cast<int>(round_up(k, kChunkFloats))),
          number_bytes_(form == FT_FP32 ? 4 : 2), form_(form) {}

    int form() const { return form_; }
    int n() const { return n_; }
    int padded_k() const { return padded_k_; }
    int num_panels() const { return static_cast<int>(round_up(n_, kPanelChannels) / kPanelChannels); }
    int number_bytes() const { return number_bytes_; }
    int chunk_bytes() const { return kChunkFloats * kPanelChannels * number_bytes_; }
    size_t bytes() const { return panel_bytes() * num_panels(); }
    // From input `first` on.
    const char* panel(int index, int first = 0) const {
        return bytes_ + index * panel_bytes() + static_cast<size_t>(first) * kPanelChannels * number_bytes_;
    }

private:
    size_t panel_bytes() const { return static_cast<size_t>(padded_k_) * kPanelChannels * number_bytes_; }

    const char* bytes_;
    int n_, padded_k_, number_bytes_, form_;
};

// Rows in fp32; a block lies as [k / 16][rows of the block][16].
struct FloatTile {
    float* values;  // rows * padded_k
    RowBlocks blocks{0, 1};
    int padded_k = 0;

    void shape(int rows, int k, int most_block_rows) {
        blocks = RowBlocks(rows, most_block_rows);
        padded_k = static_cast<int>(round_up(k, kChunkFloats));
    }
    float* block(int index) const { return values + static_cast<size_t>(blocks[index].begin) * padded_k; }
    // Row r of the block whose rows are `rows`, at one of its chunks.
    float* at(Range rows, int r, int chunk) const {
        return values + static_cast<size_t>(rows.begin) * padded_k +
               (static_cast<size_t>(chunk) * rows.size() + r - rows.begin) * kChunkFloats;
    }
};

}  // namespace farthing
