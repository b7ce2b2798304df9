// Plain C++, for CPUs without AVX2 and as the reference for the others.
#include "blocks.h"
#include "blocks_bf16.h"
#include "blocks_scaled.h"

namespace farthing::FT_ISA {

void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t*, Prefetch, int32_t* sums) {
    for (int r = 0; r < rows; ++r) {
        int32_t total[kPanelChannels] = {};
        for (int i = 0; i < chunks * kChunkBytes; i += 4) {
            const Input* const x = a + i / kChunkBytes * rows * kChunkBytes + r * kChunkBytes + i % kChunkBytes;
            const int8_t* const w = b + i * kPanelChannels;
            for (int c = 0; c < kPanelChannels; ++c)
                total[c] += x[0] * w[c * 4] + x[1] * w[c * 4 + 1] + x[2] * w[c * 4 + 2] + x[3] * w[c * 4 + 3];
        }
        for (int c = 0; c < kPanelChannels; ++c) sums[r * kPanelChannels + c] = total[c];
    }
}

void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_block_scaled_generic(rows, chunks, a, b, starts, next, scales, scale_stride, totals);
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int, bool accumulate, float* sums) {
    bf16_block_generic(rows, steps, a, b, accumulate, sums);
}

}  // namespace farthing::FT_ISA
