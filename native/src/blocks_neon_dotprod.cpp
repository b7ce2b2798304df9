// SDOT (ARMv8.2 with dotprod) sums four signed products a lane. By lane, it takes four inputs of one row against those of four
// columns, which lie side by side in a panel. Rows lie as q + 128; turning the highest bit gives q, and sums start from 0.
#include "blocks_neon.h"

namespace farthing::FT_ISA {
namespace {

// kGroup: of four inputs, among the 16 of x.
template <int kGroup, int kRows>
FT_INLINE void add_group(const int8_t* b, const int8x16_t (&x)[kRows], int32x4_t (&sums)[kRows][kHalfVectors]) {
    b += kGroup * kPanelChannels * 4;
#pragma GCC unroll 4
    for (int v = 0; v < kHalfVectors; ++v) {
        load_no_earlier();
        const int8x16_t columns = vld1q_s8(b + v * 16);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) sums[r][v] = vdotq_laneq_s32(sums[r][v], columns, x[r], kGroup);
    }
}

// `b`: the panel from the half's first column on. finish(row of the part, vector of the half, sums).
template <int kRows, class Finish>
FT_INLINE void int8_part(int chunks, int block_rows, const uint8_t* a, const int8_t* b, Finish finish) {
    int32x4_t sums[kRows][kHalfVectors];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kHalfVectors; ++v) sums[r][v] = vdupq_n_s32(0);
    for (; chunks > 0; --chunks, a += block_rows * kChunkBytes) {
        for (int unit = 0; unit < kChunkUnits; ++unit, b += kUnitBytes * kPanelChannels) {
            uint8x16_t offset;  // made anew each time: it would take a register from the sums
            static_assert(kActivationOffset == 128);
            __asm__ volatile("movi %0.16b, #128" : "=w"(offset));
            int8x16_t x[kRows];
#pragma GCC unroll 6
            for (int r = 0; r < kRows; ++r)
                x[r] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(a + r * kChunkBytes + unit * kUnitBytes), offset));
            add_group<0>(b, x, sums);
            add_group<1>(b, x, sums);
            add_group<2>(b, x, sums);
            add_group<3>(b, x, sums);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kHalfVectors; ++v) finish(r, v, sums[r][v]);
}

// finish(row of the block, column, sums of four columns).
template <class Finish>
FT_INLINE void int8_parts(int rows, int chunks, const uint8_t* a, const int8_t* b, Prefetch next, Finish finish) {
    prefetch(next, chunks);
    for_each_part(rows, kPartRows, [=](auto count, int first) {
        for (int half = 0; half < 2; ++half)
            int8_part<decltype(count)::value>(
                chunks, rows, a + first * kChunkBytes, b + half * kHalfColumns * 4,
                [=](int r, int v, int32x4_t sums) { finish(first + r, half * kHalfColumns + v * 4, sums); });
    });
}

constexpr int kBf16Rows = 5;  // columns in fp32 take two registers, and the mask one

// Two steps of a row are four numbers of x; one step of four columns is a vector of pairs.
template <int kStep, int kRows>
FT_INLINE void add_step(const uint16_t* b, float32x4_t (&x)[kRows], float32x4_t (&sums)[kRows][kHalfVectors]) {
    b += kStep * kPanelChannels * 2;
#pragma GCC unroll 4
    for (int v = 0; v < kHalfVectors; ++v) {
        load_no_earlier();
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) __asm__("" : "+w"(x[r]));  // else GCC keeps each number in a register of its own
        const uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(b + v * 8));
        const float32x4_t even = vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16));
        const float32x4_t odd = vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)));
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) {
            sums[r][v] = vfmaq_laneq_f32(sums[r][v], even, x[r], kStep * 2);
            sums[r][v] = vfmaq_laneq_f32(sums[r][v], odd, x[r], kStep * 2 + 1);
        }
    }
}

template <int kRows>
FT_INLINE void bf16_part(int steps, int block_rows, const uint16_t* a, const uint16_t* b, bool accumulate, float* to) {
    constexpr int kChunkSteps = kChunkBytes / 4;
    float32x4_t sums[kRows][kHalfVectors];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kHalfVectors; ++v)
            sums[r][v] = accumulate ? vld1q_f32(to + r * kPanelChannels + v * 4) : vdupq_n_f32(0.0f);
    for (; steps > 0; steps -= kChunkSteps, a += block_rows * (kChunkBytes / 2)) {
        const int seen = steps < kChunkSteps ? steps : kChunkSteps;
        for (int step = 0; step < seen; step += 2, b += 2 * kPanelChannels * 2) {
            float32x4_t x[kRows];
#pragma GCC unroll 6
            for (int r = 0; r < kRows; ++r)
                x[r] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(a + r * (kChunkBytes / 2) + step * 2), 16));
            add_step<0>(b, x, sums);
            add_step<1>(b, x, sums);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kHalfVectors; ++v) vst1q_f32(to + r * kPanelChannels + v * 4, sums[r][v]);
}

}  // namespace

void int8_block(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t*, Prefetch next, int32_t* sums) {
    int8_parts(rows, chunks, a, b, next,
               [=](int r, int column, int32x4_t found) { vst1q_s32(sums + r * kPanelChannels + column, found); });
}

void int8_block_scaled(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t*, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_parts(rows, chunks, a, b, next, [=](int r, int column, int32x4_t found) {
        float* const to = totals + r * kPanelChannels + column;
        vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), vcvtq_f32_s32(found), scales[r * scale_stride]));
    });
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    for_each_part(rows, kBf16Rows, [=](auto count, int first) {
        for (int column = 0; column < columns; column += kHalfColumns)
            bf16_part<decltype(count)::value>(steps, rows, a + first * (kChunkBytes / 2), b + column * 2, accumulate,
                                              sums + first * kPanelChannels + column);
    });
}

}  // namespace farthing::FT_ISA
