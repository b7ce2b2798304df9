// int8_block_scaled through int8_block, for instruction sets where the sums do not stay in registers anyway.
#pragma once

#include "blocks.h"

namespace farthing::FT_ISA {

inline void int8_block_scaled_generic(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts,
                                      Prefetch next, const float* scales, int scale_stride, float* totals) {
    alignas(64) int32_t sums[kBlockRows * kPanelChannels];
    int8_block(rows, chunks, a, b, starts, next, sums);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < kPanelChannels; ++c)
            totals[r * kPanelChannels + c] += static_cast<float>(sums[r * kPanelChannels + c]) * scales[r * scale_stride];
}

}  // namespace farthing::FT_ISA
