// Rows of a matrix to its packed form: int8 of packed.h, symmetric, with one scale (largest magnitude / 127) an output channel;
// or numbers in panels (floats.h). Built without fused multiply-add, so that all instruction sets round alike.
#include <algorithm>
#include <cstring>

#include "floats.h"
#include "isa.h"
#include "lanes.h"
#include "packed.h"
#include "widen.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kBufferFloats = 1024;  // of a row that are converted at a time, a multiple of kGroupInputs

template <class Stored>
void widen_numbers(const Stored* from, int count, float* to) {
    int i = 0;
    for (; i + kLanes <= count; i += kLanes) store(to + i, lanes_of(from + i));
    if (i == count) return;
    Stored rest[kLanes] = {};
    std::memcpy(rest, from + i, (count - i) * sizeof *from);
    float widened_rest[kLanes];
    store(widened_rest, lanes_of(rest));
    std::memcpy(to + i, widened_rest, (count - i) * sizeof *to);
}

// Numbers `first` .. `first + count` of a row, as fp32.
void load_numbers(const PackCall& call, int row, int first, int count, float* to) {
    const size_t start = static_cast<size_t>(row) * call.k + first;
    if (call.dtype == FT_FLOAT32)
        std::memcpy(to, static_cast<const float*>(call.rows) + start, count * sizeof *to);
    else if (call.dtype == FT_BFLOAT16)
        widen_numbers(static_cast<const Bf16*>(call.rows) + start, count, to);
    else
        widen_numbers(static_cast<const Fp16*>(call.rows) + start, count, to);
}

// As bits, whose order is that of the magnitudes, with NaN above all: a row with NaN or Inf gets a scale that is not finite.
float largest_of_row(const PackCall& call, int row) {
    uint32_t largest = 0;
    for (int first = 0; first < call.k; first += kBufferFloats) {
        uint32_t bits[kBufferFloats];
        const int count = std::min(kBufferFloats, call.k - first);
        load_numbers(call, row, first, count, reinterpret_cast<float*>(bits));
        for (int i = 0; i < count; ++i) largest = std::max(largest, bits[i] & 0x7fffffffu);
    }
    float value;
    std::memcpy(&value, &largest, sizeof value);
    return value;
}

void pack_int8_row(const PackCall& call, const PackedMatrix& matrix, int row) {
    const int panel = row / kPanelChannels, channel = row % kPanelChannels;
    int8_t* const out = const_cast<int8_t*>(matrix.panel(panel)) + channel * 4;
    const bool exists = row < call.n;
    const float largest = exists ? largest_of_row(call, row) : 0.0f;
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    int32_t sum = 0;
    for (int group = 0; group < matrix.num_groups(); ++group) {
        const int begin = group * kGroupInputs, padded = std::min(kGroupInputs, matrix.num_chunks() * kChunkBytes - begin);
        alignas(64) float values[kGroupInputs] = {};
        alignas(64) int32_t rounded[kGroupInputs];
        if (exists) load_numbers(call, row, begin, std::min(kGroupInputs, call.k - begin), values);
        Ints sums = {};
        for (int i = 0; i < padded; i += kLanes) {
            const Ints q = (Ints)(load_floats(values + i) * inverse + kRoundingMagic) - (Ints)(Floats{} + kRoundingMagic);
            store(rounded + i, q);
            sums += q;
        }
        int32_t group_sum = 0;
        for (int lane = 0; lane < kLanes; ++lane) group_sum += sums[lane];
        for (int i = 0; i < padded; i += 4) {
            int8_t four[4];
            for (int input = 0; input < 4; ++input) four[input] = static_cast<int8_t>(rounded[i + input]);
            std::memcpy(out + (begin + i) / 4 * (kPanelChannels * 4), four, sizeof four);
        }
        const_cast<int32_t*>(matrix.corrections(panel, group))[channel] = -kActivationOffset * group_sum;
        sum += group_sum;
    }
    const_cast<int32_t*>(matrix.corrections(panel))[channel] = -kActivationOffset * sum;
    const_cast<float*>(matrix.scales(panel))[channel] = largest / 127.0f;
}

// To nearest, ties to even; NaN stays NaN.
inline uint16_t narrowed_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline uint16_t narrowed_fp16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
    if (magnitude > 0x7f800000u) return sign | 0x7e00u;
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // rounds to 2^16 and beyond
    if (magnitude < 0x38800000u) {  // below 2^-14: fixed point, which an addition rounds to
        float fixed;
        std::memcpy(&fixed, &magnitude, sizeof fixed);
        fixed += 0.5f;
        uint32_t fixed_bits;
        std::memcpy(&fixed_bits, &fixed, sizeof fixed_bits);
        return static_cast<uint16_t>(sign | (fixed_bits - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

inline void put(float x, float* to) { *to = x; }
inline void put(float x, Bf16* to) { to->bits = narrowed_bf16(x); }
inline void put(float x, Fp16* to) { to->bits = narrowed_fp16(x); }

// [k][32] from 32 rows, some inputs at a time. Rows behind the matrix's end are zeros.
template <class Stored>
void pack_float_panel(const PackCall& call, const FloatMatrix& matrix, int panel) {
    constexpr int kInputs = 64;
    float rows[kPanelChannels][kInputs];
    for (int first = 0; first < matrix.padded_k(); first += kInputs) {
        const int count = std::max(0, std::min(kInputs, call.k - first)), padded = std::min(kInputs, matrix.padded_k() - first);
        std::memset(rows, 0, sizeof rows);
        for (int channel = 0; channel < kPanelChannels; ++channel)
            if (const int row = panel * kPanelChannels + channel; row < call.n) load_numbers(call, row, first, count, rows[channel]);
        Stored* out = reinterpret_cast<Stored*>(const_cast<char*>(matrix.panel(panel, first)));
        for (int i = 0; i < padded; ++i, out += kPanelChannels)
            for (int channel = 0; channel < kPanelChannels; ++channel) put(rows[channel][i], out + channel);
    }
}

void pack_panel(const PackCall& call, int panel) {
    if (call.form == FT_INT8) {
        const PackedMatrix matrix(call.packed, call.n, call.k);
        for (int channel = 0; channel < kPanelChannels; ++channel)
            pack_int8_row(call, matrix, panel * kPanelChannels + channel);
        return;
    }
    const FloatMatrix matrix(call.form, call.packed, call.n, call.k);
    if (call.form == FT_FP32)
        pack_float_panel<float>(call, matrix, panel);
    else if (call.form == FT_BF16)
        pack_float_panel<Bf16>(call, matrix, panel);
    else
        pack_float_panel<Fp16>(call, matrix, panel);
}

}  // namespace

void pack(const PackCall& call) {
    call.pool.run(
        [](void* opaque, int thread) {
            const PackCall& call = *static_cast<const PackCall*>(opaque);
            const int num_panels = static_cast<int>(round_up(call.n, kPanelChannels) / kPanelChannels);
            const Range panels = share(num_panels, thread, call.pool.num_threads());
            for (int panel = panels.begin; panel < panels.end; ++panel) pack_panel(call, panel);
        },
        const_cast<PackCall*>(&call));
}

}  // namespace farthing::FT_ISA
