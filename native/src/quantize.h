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
#if defined(__aarch64__)
    int32_t largest = largest_of(lanes);
#else
    int32_t largest = 0;
    for (int lane = 0; lane < kLanes; ++lane) largest = std::max(largest, lanes[lane]);
#endif
    for (int i = whole; i < k; ++i) {
        int32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        largest = std::max(largest, bits & 0x7fffffff);
    }
    float value;
    std::memcpy(&value, &largest, sizeof value);
    return value;
}

// Where the inputs of a row go: its first piece (blocks.h), and how far apart pieces and chunks are.
struct InputPlace {
    Input* first;
    int piece_stride;
    size_t chunk_stride;
};

#if defined(__ARM_FEATURE_DOTPROD)
FT_INLINE void store_inputs(Words x, Input* to, int piece_stride) {
    const int8x16_t bytes = vreinterpretq_s8_u8(low_bytes(x));
#if defined(__ARM_FEATURE_MATMUL_INT8)
    vst1_s8(to, vget_low_s8(bytes));
    vst1_s8(to + piece_stride, vget_high_s8(bytes));
#else
    int32_t* words = reinterpret_cast<int32_t*>(to);
    const int32x4_t pieces = vreinterpretq_s32_s8(bytes);
    vst1q_lane_s32(words, pieces, 0);
    vst1q_lane_s32(words += piece_stride / 4, pieces, 1);
    vst1q_lane_s32(words += piece_stride / 4, pieces, 2);
    vst1q_lane_s32(words += piece_stride / 4, pieces, 3);
#endif
}
#else
FT_INLINE void store_inputs(Words x, Input* to, int) {
    if constexpr (sizeof(Input) == 1)
        store_bytes(reinterpret_cast<uint8_t*>(to), x);
    else
        store_shorts(reinterpret_cast<uint16_t*>(to), x);
}
#endif

FT_INLINE void quantize_chunk(const float* x, float inverse, Input* out, int piece_stride) {
    constexpr float kMagic = kRoundingMagic + kInputOffset;  // the offset is even, so ties go where they went without it
    for (int i = 0; i < kChunkBytes; i += kLanes) {
        const Words rounded = (Words)(load_floats(x + i) * inverse + kMagic);
        if constexpr (kPieceInputs == kChunkBytes)
            store_inputs(rounded, out + i, piece_stride);
        else
            store_inputs(rounded, out + i / kPieceInputs * piece_stride, piece_stride);
    }
}

// x [k] as int8, symmetric, with zeros behind its end to whole chunks; returns the scale, largest magnitude / 127. A NaN or Inf
// makes that NaN or Inf.
inline float quantize_row(const float* x, int k, InputPlace to) {
    const float largest = largest_magnitude(x, k);
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    const int whole = k / kChunkBytes;
    for (int chunk = 0; chunk < whole; ++chunk)
        quantize_chunk(x + chunk * kChunkBytes, inverse, to.first + chunk * to.chunk_stride, to.piece_stride);
    if (const int rest = k % kChunkBytes) {
        float padded[kChunkBytes] = {};
        std::memcpy(padded, x + whole * kChunkBytes, rest * sizeof(float));
        quantize_chunk(padded, inverse, to.first + whole * to.chunk_stride, to.piece_stride);
    }
    return largest / 127.0f;
}

// Calls put(row, where its inputs go) for each row.
template <class Put>
void for_each_row(const QuantizedTile& out, Put put) {
    for (int b = 0; b < out.blocks.count(); ++b) {
        const Range rows = out.blocks[b];
        Input* const block = out.block<Input>(b);
        for (int r = rows.begin; r < rows.end; ++r) {
            const RowPlace place = row_place<kChunkBytes, kPieceInputs>(rows.size(), r - rows.begin);
            put(r, InputPlace{block + place.first, place.stride, static_cast<size_t>(rows.size()) * kChunkBytes});
        }
    }
}

// `out` = `num_rows` rows [k]; row_of(r) -> a row, which is read before the next is asked for.
template <class RowOf>
void fill_tile(QuantizedTile& out, int num_rows, int k, RowOf row_of) {
    out.shape(num_rows, k, kBlockRows);
    for_each_row(out, [&](int r, InputPlace place) { out.scales[r] = quantize_row(row_of(r), k, place); });
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
