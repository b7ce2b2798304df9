// Rows on their way into a GEMM, cut into blocks of as many rows as keep their sums in registers (kBlockRows in blocks.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "packed.h"

namespace farthing {

constexpr int kTileRows = 126;  // rows that one thread takes through a stage at once: whole blocks, fit for its L2 cache

// Distance of rows in a buffer of one group's floats: were it a power of two, rows would fall into few cache sets.
constexpr int kGroupStride = kGroupInputs + 16;

struct Range {
    int begin, end;
    int size() const { return end - begin; }
};

// The part of `total` items that is `index`'s among `count`.
inline Range share(int total, int index, int count) {
    const auto bound = [&](int i) { return static_cast<int>(static_cast<int64_t>(total) * i / count); };
    return {bound(index), bound(index + 1)};
}

// Blocks of nearly the same size, at most `most_rows`: of 14, 15 rows are 8 + 7, not 14 + 1, since a small block wastes loads of
// the weights.
class RowBlocks {
public:
    RowBlocks(int rows, int most_rows) : rows_(rows), count_((rows + most_rows - 1) / most_rows) {}
    int rows() const { return rows_; }
    int count() const { return count_; }
    Range operator[](int block) const { return share(rows_, block, count_); }

private:
    int rows_, count_;
};

// Quantised rows. A block lies as [k / 64][rows of the block][64] inputs, whose type is the instruction set's (Input in
// blocks.h), as is how rows lie within a chunk (RowPlace): the kernel reads it strictly forward, and no two rows of a block fight
// for the same cache set, as rows a power of two apart would.
struct QuantizedTile {
    void* values;     // kTileRows * padded_k inputs
    float* scales;    // [rows][groups], groups being 1 but for rotate_quantize_group
    RowBlocks blocks{0, 1};
    int padded_k = 0;

    void shape(int rows, int k, int most_block_rows) {
        blocks = RowBlocks(rows, most_block_rows);
        padded_k = static_cast<int>(round_up(k, kChunkBytes));
    }
    int num_groups() const { return (padded_k + kGroupInputs - 1) / kGroupInputs; }
    template <class Input>
    Input* block(int index) const {
        return static_cast<Input*>(values) + static_cast<size_t>(blocks[index].begin) * padded_k;
    }
};

}  // namespace farthing
