// fp32 rows to int8. Values are stored as the kernels read them (Input in blocks.h).
#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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
        lanes = select(bits > lanes, bits, lanes);
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

}  // namespace

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

void quantize_group(float* x, size_t stride, int group, int width, bool rotates, QuantizedTile& out) {
    const int num_groups = out.num_groups();
    for_each_row(out, [&](int r, Input* chunks, size_t chunk_stride) {
        chunks += group * (kGroupInputs / kChunkBytes) * chunk_stride;
        if (rotates) rotate_row(x + r * stride, width, x + r * stride);
        out.scales[r * num_groups + group] = quantize_row(x + r * stride, width, chunks, chunk_stride);
    });
}

}  // namespace farthing::FT_ISA
