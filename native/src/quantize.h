// Rows on their way into a product: from floats to what a tile holds, one row at a time.
#pragma once

#include <algorithm>
#include <cstring>

#include "blocks.h"
#include "blocks_float.h"
#include "lanes.h"

namespace farthing::FT_ISA {

// Compared as bits, whose order for magnitudes is that of the numbers with NaN above all: a row with NaN or Inf gets a
// scale of NaN or Inf, and whatever is computed from it stays so, instead of turning into numbers that look right.
inline float largest_magnitude(const float* x, int k) {
    Ints lanes = {};
    const int whole = k / kLanes * kLanes;
    for (int i = 0; i < whole; i += kLanes) {
        const Ints bits = (Ints)magnitude(load_floats(x + i));
        lanes = larger(bits, lanes);
    }
    int32_t largest = 0;
    for (int lane = 0; lane < kLanes; ++lane) largest = std::max(largest, lanes[lane]);
    for (int i = whole; i < k; ++i) {
        int32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        largest = std::max(largest, bits & 0x7fffffff);
    }
    float value;
    std::memcpy(&value, &largest, sizeof value);
    return value;
}

FT_INLINE void quantize_chunk(const float* x, float inverse, Input* out) {
    constexpr float kMagic = kRoundingMagic + kInputOffset;  // the offset is even, so ties go where they went without it
    for (int i = 0; i < kChunkBytes; i += kLanes) {
        const Words rounded = (Words)(load_floats(x + i) * inverse + kMagic);
        if constexpr (sizeof(Input) == 1)
            store_bytes(reinterpret_cast<uint8_t*>(out + i), rounded);
        else
            store_shorts(reinterpret_cast<uint16_t*>(out + i), rounded);
    }
}

// x [k] as int8, symmetric, its chunks `chunk_stride` apart, with zeros behind its end; returns the scale, largest magnitude /
// 127. A NaN or Inf makes that NaN or Inf.
inline float quantize_row(const float* x, int k, Input* out, size_t chunk_stride) {
    const float largest = largest_magnitude(x, k);
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    const int whole = k / kChunkBytes;
    for (int chunk = 0; chunk < whole; ++chunk)
        quantize_chunk(x + chunk * kChunkBytes, inverse, out + chunk * chunk_stride);
    if (const int rest = k % kChunkBytes) {
        float padded[kChunkBytes] = {};
        std::memcpy(padded, x + whole * kChunkBytes, rest * sizeof(float));
        quantize_chunk(padded, inverse, out + whole * chunk_stride);
    }
    return largest / 127.0f;
}

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
