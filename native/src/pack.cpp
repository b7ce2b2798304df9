// Float rows to the packed int8 matrix of packed.h: symmetric, one scale (largest magnitude / 127) an output channel.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../include/farthing_native.h"
#include "packed.h"

namespace farthing {
namespace {

template <class Load>
void pack_row(Load load, int row, int k, const PackedMatrix& matrix) {
    const int panel = row / kPanelChannels, channel = row % kPanelChannels;
    int8_t* out = const_cast<int8_t*>(matrix.panel(panel)) + channel * 4;
    float largest = 0.0f;
    // Not std::fmax, on which GCC 12 fails for aarch64. NaN is passed over as there.
    for (int i = 0; i < k; ++i) largest = std::max(largest, std::fabs(load(i)));
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    int32_t sum = 0;
    for (int group = 0; group < matrix.num_groups(); ++group) {
        int32_t group_sum = 0;
        for (int i = group * kGroupInputs; i < std::min(k, (group + 1) * kGroupInputs); ++i) {
            const int32_t value = static_cast<int32_t>(std::nearbyint(load(i) * inverse));
            out[i / 4 * (kPanelChannels * 4) + i % 4] = static_cast<int8_t>(value);
            group_sum += value;
        }
        const_cast<int32_t*>(matrix.corrections(panel, group))[channel] = -kActivationOffset * group_sum;
        sum += group_sum;
    }
    const_cast<int32_t*>(matrix.corrections(panel))[channel] = -kActivationOffset * sum;
    const_cast<float*>(matrix.scales(panel))[channel] = largest / 127.0f;
}

}  // namespace
}  // namespace farthing

using namespace farthing;

size_t ft_packed_bytes(int32_t n, int32_t k) { return n > 0 && k > 0 ? PackedMatrix(nullptr, n, k).bytes() : 0; }

int ft_pack_rows(const void* rows, int32_t dtype, int32_t first_row, int32_t num_rows, int32_t n, int32_t k,
                 void* packed) {
    if (!rows || !packed || reinterpret_cast<uintptr_t>(packed) % 64 != 0) return FT_BAD_ARGUMENT;
    if (dtype != FT_FLOAT32 && dtype != FT_BFLOAT16) return FT_BAD_ARGUMENT;
    if (k <= 0 || k > kMaxInputs || first_row < 0 || num_rows < 0 || first_row > n - num_rows) return FT_BAD_SHAPE;
    const PackedMatrix matrix(packed, n, k);
    for (int row = 0; row < num_rows; ++row) {
        const size_t start = static_cast<size_t>(row) * k;
        if (dtype == FT_FLOAT32) {
            const float* values = static_cast<const float*>(rows) + start;
            pack_row([values](int i) { return values[i]; }, first_row + row, k, matrix);
        } else {
            const uint16_t* values = static_cast<const uint16_t*>(rows) + start;
            const auto load = [values](int i) {
                const uint32_t bits = static_cast<uint32_t>(values[i]) << 16;
                float value;
                std::memcpy(&value, &bits, sizeof value);
                return value;
            };
            pack_row(load, first_row + row, k, matrix);
        }
    }
    return FT_OK;
}
