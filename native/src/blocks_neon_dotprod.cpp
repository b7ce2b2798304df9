// SDOT (ARMv8.2 with dotprod) sums four signed products a lane. By lane, it takes four inputs of one row against those of four
// columns, which lie side by side in a panel; a register holds four inputs of four rows (blocks.h).
#include <algorithm>

#include "blocks_neon.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kVectors = kPartColumns / 4;
constexpr int kPairs = kChunkBytes / 8;  // of groups of four inputs
constexpr int kReach = 4;                // so many pairs lie as far apart as a load of two registers reaches

template <int kLane>
FT_INLINE void add(int32x4_t& sums, int8x16_t columns, int8x16_t x) {
    __asm__("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sums) : "w"(columns), "w"(x), "i"(kLane));
}

// Both groups of a pair times the columns of each, for rows kFirst on that lie together; x: the rows' registers.
template <int kFirst, int kTogether, int kRows>
FT_INLINE void add_rows(const int8x16_t (&columns)[2][kVectors], const int8x16_t (&x)[2], int32x4_t (&sums)[kRows][kVectors]) {
    each<2>([&](auto group) FT_INLINED {
        each<kTogether>([&](auto row) FT_INLINED {
            constexpr int kLane = kTogether == 4 ? row : group * kTogether + row;
            each<kVectors>([&](auto v) FT_INLINED {
                add<kLane>(sums[kFirst + row][v], columns[group][v], x[group]);
            });
        });
    });
}

FT_INLINE int8x16_t load_half(const int8_t* from) { return vcombine_s8(vld1_s8(from), vdup_n_s8(0)); }

// `b`: the panel from the part's first column on. finish(row of the part, vector of its columns, sums).
template <int kRows, class Finish>
FT_INLINE void int8_part(int chunks, int block_rows, const int8_t* a, const int8_t* b, Finish finish) {
    constexpr int kQuads = kRows / kQuadRows, kPairRow = kQuads * kQuadRows, kLastRow = kRows / 2 * 2;
    int32x4_t sums[kRows][kVectors];
    each<kRows>([&](auto r) FT_INLINED { each<kVectors>([&](auto v) FT_INLINED { sums[r][v] = vdupq_n_s32(0); }); });
    for (; chunks > 0; --chunks, a += block_rows * kChunkBytes) {
        const int8_t *const pair = a + kPairRow * kChunkBytes, *const last = a + kLastRow * kChunkBytes;
        each<kPairs>([&](auto groups) FT_INLINED {
            load_no_earlier();
            int8x16_t columns[2][kVectors];
            each<2>([&](auto group) FT_INLINED {
                each<kVectors>([&](auto v) FT_INLINED {
                    columns[group][v] = vld1q_s8(b + (groups % kReach * 2 + group) * (4 * kPanelChannels) + v * 16);
                });
            });
            each<kQuads>([&](auto quad) FT_INLINED {
                load_no_earlier();
                const int8_t* const rows = a + quad * kQuadBytes + groups * 32;
                const int8x16_t x[2] = {vld1q_s8(rows), vld1q_s8(rows + 16)};
                add_rows<quad * kQuadRows, 4>(columns, x, sums);
            });
            if constexpr (kRows % 4 >= 2) {
                load_no_earlier();
                const int8x16_t both = vld1q_s8(pair + groups * 16), x[2] = {both, both};
                add_rows<kPairRow, 2>(columns, x, sums);
            }
            if constexpr (kRows % 2) {
                load_no_earlier();
                const int8x16_t both = load_half(last + groups * 8), x[2] = {both, both};
                add_rows<kLastRow, 1>(columns, x, sums);
            }
            if constexpr (groups % kReach == kReach - 1) {
                b += kReach * 2 * 4 * kPanelChannels;
                hold(b);
            }
        });
    }
    each<kRows>([&](auto r) FT_INLINED { each<kVectors>([&](auto v) FT_INLINED { finish(r, v, sums[r][v]); }); });
}

// finish(first row, first column) is what a part finishes with.
template <class Finish>
FT_INLINE void int8_parts(int rows, int chunks, const int8_t* a, const int8_t* b, Prefetch next, Finish finish) {
    prefetch(next, chunks);
    for_each_part(rows, [=](auto count, int first) FT_INLINED {
        for (int column = 0; column < kPanelChannels; column += kPartColumns)
            int8_part<decltype(count)::value>(chunks, rows, a + first * kChunkBytes, b + column * 4, finish(first, column));
    });
}

constexpr int kHalfColumns = kPanelChannels / 2, kHalfVectors = kHalfColumns / 4;
template <class Use>
inline void for_each_bf16_part(int rows, int most_rows, Use use) {
    const RowBlocks parts(rows, most_rows);
    for (int index = 0; index < parts.count(); ++index)
        with_count(parts[index].size(), [=](auto count) { use(count, parts[index].begin); }, std::make_integer_sequence<int, 5>{});
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

void int8_block(int rows, int chunks, const int8_t* a, const int8_t* b, const int32_t*, Prefetch next, int32_t* sums) {
    int8_parts(rows, chunks, a, b, next, [=](int row, int column) FT_INLINED {
        int32_t* const to = sums + row * kPanelChannels + column;
        return [=](int r, int v, int32x4_t found) FT_INLINED { vst1q_s32(to + r * kPanelChannels + v * 4, found); };
    });
}

void int8_block_scaled(int rows, int chunks, const int8_t* a, const int8_t* b, const int32_t*, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_parts(rows, chunks, a, b, next, [=](int row, int column) FT_INLINED {
        float* const to = totals + row * kPanelChannels + column;
        const float* const row_scales = scales + row * scale_stride;
        return [=](int r, int v, int32x4_t found) FT_INLINED {
            float* const total = to + r * kPanelChannels + v * 4;
            vst1q_f32(total, vfmaq_n_f32(vld1q_f32(total), vcvtq_f32_s32(found), row_scales[r * scale_stride]));
        };
    });
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    for_each_bf16_part(rows, kBf16Rows, [=](auto count, int first) {
        for (int column = 0; column < columns; column += kHalfColumns)
            bf16_part<decltype(count)::value>(steps, rows, a + first * (kChunkBytes / 2), b + column * 2, accumulate,
                                              sums + first * kPanelChannels + column);
    });
}

}  // namespace farthing::FT_ISA
