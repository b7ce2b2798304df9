// bf16_block for CPUs without bf16 instructions: a bf16 number is the upper half of a float.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tile.h"

namespace farthing::FT_ISA {

using Floats __attribute__((vector_size(32))) = float;
using Words __attribute__((vector_size(32))) = uint32_t;
constexpr int kGroups = kPanelChannels / 8, kChunkSteps = kChunkBytes / 4;

template <int kRows>
void bf16_rows_generic(int steps, int block_rows, const uint16_t* a, const uint16_t* b, bool accumulate, float* sums) {
    Floats total[kRows][kGroups] = {};
    if (accumulate) std::memcpy(total, sums, sizeof total);
    for (; steps > 0; steps -= kChunkSteps, a += block_rows * 32) {
        for (int step = 0; step < std::min(steps, kChunkSteps); ++step, b += 64) {
            for (int group = 0; group < kGroups; ++group) {
                Words pairs;
                std::memcpy(&pairs, b + group * 16, sizeof pairs);
                const Floats even = (Floats)(pairs << 16), odd = (Floats)(pairs & 0xffff0000u);
                for (int r = 0; r < kRows; ++r) {
                    const uint16_t* const row = a + r * 32 + step * 2;
                    const uint32_t bits[2] = {static_cast<uint32_t>(row[0]) << 16, static_cast<uint32_t>(row[1]) << 16};
                    float x[2];
                    std::memcpy(x, bits, sizeof x);
                    total[r][group] += even * x[0];
                    total[r][group] += odd * x[1];
                }
            }
        }
    }
    std::memcpy(sums, total, sizeof total);
}

inline void bf16_block_generic(int rows, int steps, const uint16_t* a, const uint16_t* b, bool accumulate,
                               float* sums) {
    int r = 0;
    for (; r + 2 <= rows; r += 2) bf16_rows_generic<2>(steps, rows, a + r * 32, b, accumulate, sums + r * 32);
    if (r < rows) bf16_rows_generic<1>(steps, rows, a + r * 32, b, accumulate, sums + r * 32);
}

}  // namespace farthing::FT_ISA
