// bf16_block for CPUs without bf16 instructions: a bf16 number is the upper half of a float.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "blocks.h"

namespace farthing::FT_ISA {

namespace generic {

#if defined(__AVX__)
constexpr int kVectorLanes = 8;
#else
constexpr int kVectorLanes = 4;
#endif
typedef float Numbers __attribute__((vector_size(4 * kVectorLanes)));
typedef uint32_t Pairs __attribute__((vector_size(4 * kVectorLanes)));
// 2 rows x 4 vectors of sums stay in registers, beside the numbers that are multiplied.
constexpr int kRowsAtOnce = 2, kVectors = 4, kColumnsAtOnce = kVectors * kVectorLanes;
constexpr int kChunkSteps = kChunkBytes / 4, kChunkFloats = 2 * kChunkSteps;
constexpr int kPieceSteps = 128;  // so that rows as floats stay in the L1 cache

inline void widen(const uint16_t* a, int count, float* to) {
    for (int i = 0; i < count; ++i) {
        const uint32_t bits = static_cast<uint32_t>(a[i]) << 16;
        std::memcpy(to + i, &bits, sizeof bits);
    }
}

// kColumnsAtOnce columns of some rows: a, b and sums at the first of them.
template <int kRows>
void multiply(int steps, int block_rows, const float* a, const uint16_t* b, bool accumulate, float* sums) {
    Numbers total[kRows][kVectors] = {};
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r)
        if (accumulate) std::memcpy(total[r], sums + r * kPanelChannels, sizeof total[r]);
    for (; steps > 0; steps -= kChunkSteps, a += block_rows * kChunkFloats) {
        const float* inputs = a;
        for (int step = std::min(steps, kChunkSteps); step > 0; --step, inputs += 2, b += 2 * kPanelChannels) {
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
                Pairs pairs;
                std::memcpy(&pairs, b + v * 2 * kVectorLanes, sizeof pairs);
                const Numbers even = (Numbers)(pairs << 16), odd = (Numbers)(pairs & 0xffff0000u);
#pragma GCC unroll 2
                for (int r = 0; r < kRows; ++r) {
                    total[r][v] += even * inputs[r * kChunkFloats];
                    total[r][v] += odd * inputs[r * kChunkFloats + 1];
                }
            }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) std::memcpy(sums + r * kPanelChannels, total[r], sizeof total[r]);
}

}  // namespace generic

// A sum's products are added one after the other, whatever else is asked for.
inline void bf16_block_generic(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate,
                               float* sums) {
    alignas(64) float wide[kBlockRows * 2 * generic::kPieceSteps];
    for (int first = 0; first < steps; first += generic::kPieceSteps, accumulate = true) {
        const int count = std::min(generic::kPieceSteps, steps - first);
        generic::widen(a + first * 2 * rows, static_cast<int>(round_up(count, generic::kChunkSteps)) * 2 * rows, wide);
        for (int column = 0; column < columns; column += generic::kColumnsAtOnce)
            for (int r = 0; r < rows; r += generic::kRowsAtOnce)
                (rows - r > 1 ? generic::multiply<2> : generic::multiply<1>)(
                    count, rows, wide + r * generic::kChunkFloats, b + (first * kPanelChannels + column) * 2, accumulate,
                    sums + r * kPanelChannels + column);
    }
}

}  // namespace farthing::FT_ISA
