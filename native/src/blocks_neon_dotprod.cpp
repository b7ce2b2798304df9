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
    __asm__ volatile("sdot %0.4s, %1.16b, %2.4b[%3]" : "+w"(sums) : "w"(columns), "w"(x), "i"(kLane));
}

// Both groups of a pair times the columns of each, for rows kFirst on that lie together; x: the rows' registers.
template <int kFirst, int kTogether, int kRows>
FT_INLINE void add_rows(const int8x16_t (&columns)[2][kVectors], const int8x16_t (&x)[2], int32x4_t (&sums)[kRows][kVectors]) {
    each<2>([&](auto group) FT_INLINED {
        constexpr int kFirstLane = kTogether == kQuadRows ? 0 : group * kTogether;
        each<kTogether>([&](auto row) FT_INLINED {
            constexpr int kLane = kFirstLane + row;
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

constexpr int kFloatRows = 6, kFloatColumns = 16, kFloatVectors = kFloatColumns / 4;  // of a part in fp32
constexpr int kSlabSteps = 128;  // so that columns as floats stay in the L1 cache

template <int kLane>
FT_INLINE void add(float32x4_t& sums, float32x4_t columns, float32x4_t x) {
    __asm__ volatile("fmla %0.4s, %1.4s, %2.s[%3]" : "+w"(sums) : "w"(columns), "w"(x), "i"(kLane));
}

// A step's pairs of 16 columns to fp32: `to` [2 * steps][16].
void widen_columns(int steps, const uint16_t* b, float* to) {
    const uint32x4_t upper = vdupq_n_u32(0xffff0000u);
    for (; steps > 0; --steps, b += 2 * kPanelChannels, to += 2 * kFloatColumns)
        each<kFloatVectors>([&](auto v) FT_INLINED {
            const uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(b + v * 8));
            vst1q_f32(to + v * 4, vreinterpretq_f32_u32(vshlq_n_u32(pairs, 16)));
            vst1q_f32(to + kFloatColumns + v * 4, vreinterpretq_f32_u32(vandq_u32(pairs, upper)));
        });
}

// Four numbers of each row.
template <int kRows>
FT_INLINE void add_four(const float* a, const float* b, float32x4_t (&sums)[kRows][kFloatVectors]) {
    load_no_earlier();
    float32x4_t x[kRows];
    each<kRows>([&](auto r) FT_INLINED { x[r] = vld1q_f32(a + r * kChunkNumbers); });
    each<4>([&](auto lane) FT_INLINED {
        constexpr int kLane = lane;
        each<kFloatVectors / 2>([&](auto pair) FT_INLINED {
            load_no_earlier();
            const float* const from = b + kLane * kFloatColumns + pair * 8;
            const float32x4_t columns[2] = {vld1q_f32(from), vld1q_f32(from + 4)};
            each<kRows>([&](auto r) FT_INLINED {
                each<2>([&](auto v) FT_INLINED { add<kLane>(sums[r][pair * 2 + v], columns[v], x[r]); });
            });
        });
    });
}

// A sum's products are added one after the other.
template <int kRows>
FT_INLINE void float_part(int k, int block_rows, const float* a, const float* b, bool accumulate, float* to) {
    float32x4_t sums[kRows][kFloatVectors];
    each<kRows>([&](auto r) FT_INLINED {
        each<kFloatVectors>([&](auto v) FT_INLINED {
            sums[r][v] = accumulate ? vld1q_f32(to + r * kPanelChannels + v * 4) : vdupq_n_f32(0.0f);
        });
    });
    for (; k >= kChunkNumbers; k -= kChunkNumbers) {
        each<kChunkNumbers / 4>([&](auto four) FT_INLINED { add_four(a + four * 4, b + four * 4 * kFloatColumns, sums); });
        a += block_rows * kChunkNumbers, b += kChunkNumbers * kFloatColumns;
    }
    for (; k > 0; k -= 4, a += 4, b += 4 * kFloatColumns) add_four(a, b, sums);
    each<kRows>([&](auto r) FT_INLINED {
        each<kFloatVectors>([&](auto v) FT_INLINED { vst1q_f32(to + r * kPanelChannels + v * 4, sums[r][v]); });
    });
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

void bf16_block(int rows, int steps, const float* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    alignas(64) float wide[2 * kSlabSteps * kFloatColumns];
    const RowBlocks parts(rows, kFloatRows);
    for (int first = 0; first < steps; first += kSlabSteps, accumulate = true)
        for (int column = 0; column < columns; column += kFloatColumns) {
            const int count = std::min(kSlabSteps, steps - first);
            widen_columns(count, b + (first * kPanelChannels + column) * 2, wide);
            for (int index = 0; index < parts.count(); ++index) {
                const int row = parts[index].begin;
                const float* const from = a + 2 * first * rows + row * kChunkNumbers;
                float* const to = sums + row * kPanelChannels + column;
                with_count<kFloatRows>(parts[index].size(), [&](auto of_part) FT_INLINED {
                    float_part<decltype(of_part)::value>(2 * count, rows, from, wide, accumulate, to);
                });
            }
        }
}

}  // namespace farthing::FT_ISA
