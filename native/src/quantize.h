// Rows on their way into a product: from floats to what a tile holds, one row at a time.
#pragma once

#include "blocks.h"
#include "blocks_float.h"
#include "lanes.h"

namespace farthing::FT_ISA {

// x [k] as int8, symmetric, its chunks `chunk_stride` apart, with zeros behind its end; returns the scale, largest magnitude /
// 127. A NaN or Inf makes that NaN or Inf.
float quantize_row(const float* x, int k, Input* out, size_t chunk_stride);

// Calls put(row, its first chunk, distance of its chunks) for each row.
template <class Put>
void for_each_row(const QuantizedTile& out, Put put) {
    for (int b = 0; b < out.blocks.count(); ++b) {
        const Range rows = out.blocks[b];
        Input* chunks = out.block<Input>(b);
        for (int r = rows.begin; r < rows.end; ++r, chunks += kChunkBytes)
            put(r, chunks, static_cast<size_t>(rows.size()) * kChunkBytes);
    }
}

// `out` = `num_rows` rows [k]; row_of(r) -> a row, which is read before the next is asked for.
template <class RowOf>
void fill_tile(QuantizedTile& out, int num_rows, int k, RowOf row_of) {
    out.shape(num_rows, k, kBlockRows);
    for_each_row(out, [&](int r, Input* chunks, size_t chunk_stride) {
        out.scales[r] = quantize_row(row_of(r), k, chunks, chunk_stride);
    });
}

template <class RowOf>
void fill_tile(FloatTile& out, int num_rows, int k, RowOf row_of) {
    out.shape(num_rows, k, kFloatBlockRows);
    for (int b = 0; b < out.blocks.count(); ++b) {
        const Range rows = out.blocks[b];
        for (int r = rows.begin; r < rows.end; ++r) {
            const float* const row = row_of(r);
            int i = 0;
            for (; i + kChunkFloats <= k; i += kChunkFloats) store(out.at(rows, r, i / kChunkFloats), load_floats(row + i));
            if (i < k) {
                float rest[kChunkFloats] = {};
                std::memcpy(rest, row + i, (k - i) * sizeof(float));
                store(out.at(rows, r, i / kChunkFloats), load_floats(rest));
            }
        }
    }
}

// Group `group` of all rows of `out`, which has its shape already, from x [rows][stride], of which each row has `width` numbers
// of the group. With one scale for each kGroupInputs values of a row: for rows in which a few values dwarf the others.
void quantize_group(float* x, size_t stride, int group, int width, bool rotates, QuantizedTile& out);

}  // namespace farthing::FT_ISA
