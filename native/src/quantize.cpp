// fp32 rows to int8, symmetric, scale = largest magnitude / 127 a row; optionally through RMSNorm, without a detour
// through memory. Values are stored as the kernels read them (Input in blocks.h).
#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bf16.h"
#include "blocks.h"
#include "lanes.h"
#include "rotate.h"

namespace farthing::FT_ISA {
namespace {

// Compared as bits, whose order for magnitudes is that of the numbers with NaN above all: a row with NaN or Inf gets a
// scale of NaN or Inf, and whatever is computed from it stays so, instead of turning into numbers that look right.
float largest_magnitude(const float* x, int k) {
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

inline void quantize_chunk(const float* x, float inverse, Input* out) {
    for (int i = 0; i < kChunkBytes; i += kLanes) {
        const Words rounded = (Words)(load_floats(x + i) * inverse + kRoundingMagic);
        if constexpr (sizeof(Input) == 1)
            store_bytes(reinterpret_cast<uint8_t*>(out + i), rounded ^ kInputOffset);
        else
            store_shorts(reinterpret_cast<uint16_t*>(out + i), rounded);
    }
}

float quantize_row(const float* x, int k, Input* out, size_t chunk_stride) {
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

// Calls quantize(row, its first chunk, distance of its chunks) for each row.
template <class Quantize>
void for_each_row(const QuantizedTile& out, Quantize quantize) {
    for (int b = 0; b < out.blocks.count(); ++b) {
        const Range rows = out.blocks[b];
        Input* chunks = out.block<Input>(b);
        for (int r = rows.begin; r < rows.end; ++r, chunks += kChunkBytes)
            quantize(r, chunks, static_cast<size_t>(rows.size()) * kChunkBytes);
    }
}

}  // namespace

void quantize_rows(const float* x, size_t stride, int num_rows, int k, QuantizedTile& out) {
    out.shape(num_rows, k, kBlockRows);
    for_each_row(out, [&](int r, Input* chunks, size_t chunk_stride) {
        out.scales[r] = quantize_row(x + r * stride, k, chunks, chunk_stride);
    });
}

void rotate_quantize_group(float* x, size_t stride, int group, QuantizedTile& out) {
    const int first = group * kGroupInputs, num_groups = out.num_groups();
    const int width = std::min(kGroupInputs, out.padded_k - first);
    for_each_row(out, [&](int r, Input* chunks, size_t chunk_stride) {
        chunks += first / kChunkBytes * chunk_stride;
        rotate_row(x + r * stride, width, x + r * stride);
        out.scales[r * num_groups + group] = quantize_row(x + r * stride, width, chunks, chunk_stride);
    });
}

void rotate_quantize_rows(const float* x, size_t stride, const int* rows, int num_rows, int k, float* row_buffer,
                          QuantizedTile& out) {
    out.shape(num_rows, k, kBlockRows);
    for_each_row(out, [&](int r, Input* chunks, size_t chunk_stride) {
        rotate_row(x + rows[r] * stride, k, row_buffer);
        out.scales[r] = quantize_row(row_buffer, k, chunks, chunk_stride);
    });
}

void quantize_head_rows(const HeadRows& x, int num_rows, bool rotated, float* row_buffer, QuantizedTile& out) {
    const int k = x.parts * x.width;
    out.shape(num_rows, k, kBlockRows);
    for_each_row(out, [&](int r, Input* chunks, size_t chunk_stride) {
        for (int part = 0; part < x.parts; ++part)
            load_bf16_row(x.values + part * x.part_stride + static_cast<size_t>(r) * x.width, x.width, row_buffer + part * x.width);
        if (rotated) rotate_row(row_buffer, k, row_buffer);
        out.scales[r] = quantize_row(row_buffer, k, chunks, chunk_stride);
    });
}

void norm_quantize_rows(const float* x, const int* rows, int num_rows, int k, const float* gain, float eps,
                        float* row_buffer, QuantizedTile& out) {
    out.shape(num_rows, k, kBlockRows);
    for_each_row(out, [&](int r, Input* chunks, size_t chunk_stride) {
        const float* const row = x + static_cast<size_t>(rows[r]) * k;
        const float inverse = inverse_rms(row, k, eps);
        for (int i = 0; i < k; i += kLanes)
            store(row_buffer + i, load_floats(row + i) * inverse * load_floats(gain + i));
        out.scales[r] = quantize_row(row_buffer, k, chunks, chunk_stride);
    });
}

}  // namespace farthing::FT_ISA
