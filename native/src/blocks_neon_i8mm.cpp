// USMMLA and BFMMLA (ARMv8.2 with i8mm and bf16) multiply two rows by two columns, eight inputs in int8 or four in bf16 at a
// time: 16 bytes on each side, and 2 x 2 sums. A panel has the four bytes of a column side by side, so two groups of it are
// zipped for this, 512 inputs at a time and once for all rows of the block. What a row and a column give does not depend on
// the other row or column of the pair.
#include <algorithm>

#include "blocks_neon.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kSlabUnits = 8 * kChunkUnits;
constexpr int kSlabBytes = kSlabUnits * kUnitBytes * kPanelChannels;

struct Int8 {
    using Vector = int32x4_t;
    using Number = int32_t;
    // x: rows as q + 128.
    static FT_INLINE Vector add(Vector sums, uint8x16_t x, uint8x16_t columns) {
        return vusmmlaq_s32(sums, x, vreinterpretq_s8_u8(columns));
    }
    static FT_INLINE Vector load(const int32_t* from) { return vld1q_s32(from); }
};

struct Bf16 {
    using Vector = float32x4_t;
    using Number = float;
    static FT_INLINE Vector add(Vector sums, uint8x16_t x, uint8x16_t columns) {
        return vbfmmlaq_f32(sums, vreinterpretq_bf16_u8(x), vreinterpretq_bf16_u8(columns));
    }
    static FT_INLINE Vector load(const float* from) { return vld1q_f32(from); }
};

// The lower halves of two vectors, and the upper ones.
template <class Vector>
FT_INLINE Vector low(Vector a, Vector b) {
    return (Vector)vzip1q_u64((uint64x2_t)a, (uint64x2_t)b);
}
template <class Vector>
FT_INLINE Vector high(Vector a, Vector b) {
    return (Vector)vzip2q_u64((uint64x2_t)a, (uint64x2_t)b);
}

// Eight bytes of each of two rows.
FT_INLINE uint8x16_t load_pair(const uint8_t* upper, const uint8_t* lower) {
    const uint64x2_t first = vcombine_u64(vld1_u64(reinterpret_cast<const uint64_t*>(upper)), vdup_n_u64(0));
    return vreinterpretq_u8_u64(vld1q_lane_u64(reinterpret_cast<const uint64_t*>(lower), first, 1));
}

// `out` [halves][pairs of groups][16 columns][8 bytes]: of each column, both groups of a pair side by side.
void zip_columns(int units, const uint8_t* b, int halves, uint8_t* out) {
    for (int half = 0; half < halves; ++half, b += kHalfColumns * 4) {
        const uint8_t* from = b;
        for (int pair = 0; pair < units * 2; ++pair, from += 2 * kPanelChannels * 4)
#pragma GCC unroll 4
            for (int v = 0; v < kHalfVectors; ++v, out += 32) {
                const uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(from + v * 16));
                const uint32x4_t second = vreinterpretq_u32_u8(vld1q_u8(from + kPanelChannels * 4 + v * 16));
                vst1q_u8(out, vreinterpretq_u8_u32(vzip1q_u32(first, second)));
                vst1q_u8(out + 16, vreinterpretq_u8_u32(vzip2q_u32(first, second)));
            }
    }
}

// Rows `a` of one part by one half of zipped columns. begin(row, vector) -> what the sums of four columns begin with;
// finish(row, vector, sums). With an odd number of rows, the last stands in for the one that is missing.
template <class Type, int kRows, class Begin, class Finish>
FT_INLINE void part(int units, int block_rows, const uint8_t* a, const uint8_t* columns, Begin begin, Finish finish) {
    constexpr int kPairs = (kRows + 1) / 2, kLast = kRows - 1;
    typename Type::Vector sums[kPairs][2 * kHalfVectors];
#pragma GCC unroll 3
    for (int p = 0; p < kPairs; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < kHalfVectors; ++v) {
            const auto upper = begin(2 * p, v), lower = begin(std::min(2 * p + 1, kLast), v);
            sums[p][2 * v] = low(upper, lower);
            sums[p][2 * v + 1] = high(upper, lower);
        }
    for (int first = 0; first < units; first += kChunkUnits, a += block_rows * kChunkBytes) {
        const uint8_t* row = a;
        for (int unit = first; unit < std::min(first + kChunkUnits, units); ++unit, row += kUnitBytes, columns += 256) {
#pragma GCC unroll 2
            for (int eight = 0; eight < 2; ++eight) {
                uint8x16_t x[kPairs];
#pragma GCC unroll 3
                for (int p = 0; p < kPairs; ++p)
                    x[p] = load_pair(row + 2 * p * kChunkBytes + eight * 8,
                                     row + std::min(2 * p + 1, kLast) * kChunkBytes + eight * 8);
#pragma GCC unroll 4
                for (int v = 0; v < 2 * kHalfVectors; v += 2) {
                    load_no_earlier();
                    const uint8x16_t two = vld1q_u8(columns + eight * 128 + v * 16);
                    const uint8x16_t next_two = vld1q_u8(columns + eight * 128 + v * 16 + 16);
#pragma GCC unroll 3
                    for (int p = 0; p < kPairs; ++p) sums[p][v] = Type::add(sums[p][v], x[p], two);
#pragma GCC unroll 3
                    for (int p = 0; p < kPairs; ++p) sums[p][v + 1] = Type::add(sums[p][v + 1], x[p], next_two);
                }
            }
        }
    }
#pragma GCC unroll 3
    for (int p = 0; p < kPairs; ++p)
#pragma GCC unroll 4
        for (int v = 0; v < kHalfVectors; ++v) {
            finish(2 * p, v, low(sums[p][2 * v], sums[p][2 * v + 1]));
            if (2 * p + 1 < kRows) finish(2 * p + 1, v, high(sums[p][2 * v], sums[p][2 * v + 1]));
        }
}

// `units` of 16 bytes a row, at most a slab. begin(row of the block, column), finish(row, column, sums of four columns).
template <class Type, class Begin, class Finish>
FT_INLINE void slab(int rows, int units, const uint8_t* a, const uint8_t* b, int columns, Begin begin, Finish finish) {
    alignas(64) uint8_t zipped[kSlabBytes];
    zip_columns(units, b, columns / kHalfColumns, zipped);
    const auto use = [=, &zipped](auto count, int first) {
        for (int half = 0; half < columns / kHalfColumns; ++half) {
            const int column = half * kHalfColumns;
            part<Type, decltype(count)::value>(
                units, rows, a + first * kChunkBytes, zipped + column * units * kUnitBytes,
                [=](int r, int v) { return begin(first + r, column + v * 4); },
                [=](int r, int v, auto sums) { finish(first + r, column + v * 4, sums); });
        }
    };
    const RowBlocks parts((rows + 1) / 2, kPartRows / 2);
    for (int index = 0; index < parts.count(); ++index) {
        const int first = 2 * parts[index].begin;
        with_count(std::min(2 * parts[index].end, rows) - first, [=](auto count) { use(count, first); });
    }
}

// sums [rows, 32] = begin(row, column) + a b.
template <class Type, class Begin>
FT_INLINE void product(int rows, int units, const uint8_t* a, const uint8_t* b, int columns, Begin begin,
                       typename Type::Number* sums) {
    const auto go_on = [=](int r, int column) { return Type::load(sums + r * kPanelChannels + column); };
    const auto keep = [=](int r, int column, typename Type::Vector found) {
        std::memcpy(sums + r * kPanelChannels + column, &found, sizeof found);
    };
    slab<Type>(rows, std::min(units, kSlabUnits), a, b, columns, begin, keep);
    for (int first = kSlabUnits; first < units; first += kSlabUnits)
        slab<Type>(rows, std::min(units - first, kSlabUnits), a + first * rows * kUnitBytes, b + first * kUnitBytes * kPanelChannels,
                   columns, go_on, keep);
}

const uint8_t* bytes_of(const void* values) { return static_cast<const uint8_t*>(values); }

}  // namespace

void int8_block(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next, int32_t* sums) {
    prefetch(next, chunks);
    product<Int8>(rows, chunks * kChunkUnits, a, bytes_of(b), kPanelChannels,
                  [=](int, int column) { return vld1q_s32(starts + column); }, sums);
}

void int8_block_scaled(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    static_assert(kSlabUnits * kUnitBytes >= kGroupInputs);  // a slab has all that has one scale
    prefetch(next, chunks);
    slab<Int8>(
        rows, chunks * kChunkUnits, a, bytes_of(b), kPanelChannels,
        [=](int, int column) { return vld1q_s32(starts + column); },
        [=](int r, int column, int32x4_t found) {
            float* const to = totals + r * kPanelChannels + column;
            vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), vcvtq_f32_s32(found), scales[r * scale_stride]));
        });
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    const int units = steps / kStepUnit;
    if (accumulate)
        product<Bf16>(rows, units, bytes_of(a), bytes_of(b), columns,
                      [=](int r, int column) { return vld1q_f32(sums + r * kPanelChannels + column); }, sums);
    else
        product<Bf16>(rows, units, bytes_of(a), bytes_of(b), columns, [](int, int) { return vdupq_n_f32(0.0f); }, sums);
}

}  // namespace farthing::FT_ISA
