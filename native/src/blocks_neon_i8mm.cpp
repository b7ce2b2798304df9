// SMMLA and BFMMLA (ARMv8.2 with i8mm and bf16) multiply two rows by two columns, eight inputs in int8 or four in bf16 at a
// time: 16 bytes on each side, and 2 x 2 sums. Rows lie so that a register holds eight bytes of each of two (blocks.h). A panel has
// the four bytes of a column side by side, so two groups of it are zipped for this, 512 inputs at a time and once for all rows of
// the block. What a row and a column give does not depend on the other row or column of the pair.
#include <algorithm>

#include "blocks_neon.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kEight = 8;  // bytes of a row or column in an instruction
constexpr int kChunkEights = kChunkBytes / kEight;
constexpr int kSlabEights = 8 * kChunkEights;
constexpr int kPartBytes = kPartColumns * kEight;  // of zipped columns, an eight of a part's
constexpr int kVectors = kPartColumns / 4;         // of a row's sums

struct Int8 {
    using Vector = int32x4_t;
    using Number = int32_t;
    static FT_INLINE void add(Vector& sums, int8x16_t x, int8x16_t columns) {
        __asm__ volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(sums) : "w"(x), "w"(columns));
    }
    static FT_INLINE Vector load(const int32_t* from) { return vld1q_s32(from); }
    static FT_INLINE void store(int32_t* to, Vector sums) { vst1q_s32(to, sums); }
};

struct Bf16 {
    using Vector = float32x4_t;
    using Number = float;
    static FT_INLINE void add(Vector& sums, int8x16_t x, int8x16_t columns) {
        __asm__ volatile("bfmmla %0.4s, %1.8h, %2.8h" : "+w"(sums) : "w"(x), "w"(columns));
    }
    static FT_INLINE Vector load(const float* from) { return vld1q_f32(from); }
    static FT_INLINE void store(float* to, Vector sums) { vst1q_f32(to, sums); }
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

// `out` [parts of the panel][eights][8 columns][8 bytes]: of each column, both groups of an eight side by side.
void zip_columns(int eights, const int8_t* b, int columns, int8_t* out) {
    for (int column = 0; column < columns; column += kPartColumns, b += kPartColumns * 4) {
        const int8_t* from = b;
#pragma GCC unroll 4
        for (int eight = 0; eight < eights; ++eight, from += kEight * kPanelChannels, out += kPartBytes) {
            int32x4_t first[kVectors], second[kVectors];
            each<kVectors>([&](auto v) FT_INLINED { first[v] = vreinterpretq_s32_s8(vld1q_s8(from + v * 16)); });
            each<kVectors>([&](auto v) FT_INLINED {
                second[v] = vreinterpretq_s32_s8(vld1q_s8(from + kEight / 2 * kPanelChannels + v * 16));
            });
            each<kVectors>([&](auto v) FT_INLINED {
                vst1q_s8(out + v * 32, vreinterpretq_s8_s32(vzip1q_s32(first[v], second[v])));
                vst1q_s8(out + v * 32 + 16, vreinterpretq_s8_s32(vzip2q_s32(first[v], second[v])));
            });
        }
    }
}

// Of a chunk, kCount eights from kFirst on, in a part of kRows rows that begins at `a`; columns: of the chunk.
template <class Type, int kRows, int kFirst, int kCount, int kPairs>
FT_INLINE void add_eights(const int8_t* a, const int8_t* columns, typename Type::Vector (&sums)[kPairs][2 * kVectors]) {
    constexpr int kQuads = kRows / kQuadRows;
    const int8_t *const pair = a + kQuads * kQuadBytes, *const last = a + kRows / 2 * 2 * kChunkBytes;
    each<kCount>([&](auto index) FT_INLINED {
        constexpr int kThis = kFirst + index;
        load_no_earlier();
        int8x16_t two[2 * kVectors];  // columns in each
        each<2 * kVectors>([&](auto v) FT_INLINED { two[v] = vld1q_s8(columns + kThis * kPartBytes + v * 16); });
        const auto add = [&](auto p, int8x16_t x) FT_INLINED {
            each<2 * kVectors>([&](auto v) FT_INLINED { Type::add(sums[p][v], x, two[v]); });
        };
        each<kQuads>([&](auto quad) FT_INLINED {
            load_no_earlier();
            const int8_t* const rows = a + quad * kQuadBytes + kThis * (kQuadRows * kEight);
            const int8x16_t upper = vld1q_s8(rows), lower = vld1q_s8(rows + 2 * kEight);
            add(std::integral_constant<int, 2 * quad>{}, upper);
            add(std::integral_constant<int, 2 * quad + 1>{}, lower);
        });
        if constexpr (kRows % 4 >= 2)
            add(std::integral_constant<int, 2 * kQuads>{}, vld1q_s8(pair + kThis * (2 * kEight)));
        if constexpr (kRows % 2) {
            const int8x8_t x = vld1_s8(last + kThis * kEight);
            add(std::integral_constant<int, kPairs - 1>{}, vcombine_s8(x, x));
        }
    });
}

// Rows `a` of one part by zipped columns. begin(row, vector) -> what the sums of four columns begin with; finish(row, vector,
// sums). With an odd number of rows, the last stands in for the one that is missing.
template <class Type, int kRows, class Begin, class Finish>
FT_INLINE void part(int eights, int block_rows, const int8_t* a, const int8_t* columns, Begin begin, Finish finish) {
    constexpr int kPairs = (kRows + 1) / 2;
    typename Type::Vector sums[kPairs][2 * kVectors];
    each<kPairs>([&](auto p) FT_INLINED {
        each<kVectors>([&](auto v) FT_INLINED {
            const auto upper = begin(2 * p, v), lower = begin(std::min(2 * p + 1, kRows - 1), v);
            sums[p][2 * v] = low(upper, lower);
            sums[p][2 * v + 1] = high(upper, lower);
        });
    });
    for (; eights >= kChunkEights; eights -= kChunkEights) {
        add_eights<Type, kRows, 0, kChunkEights>(a, columns, sums);
        a += block_rows * kChunkBytes, columns += kChunkEights * kPartBytes;
    }
    if constexpr (std::is_same<Type, Bf16>::value) {  // whose steps may end in a chunk
        if (eights > 0) {
            add_eights<Type, kRows, 0, 2>(a, columns, sums);
            if (eights > 2) add_eights<Type, kRows, 2, 2>(a, columns, sums);
            if (eights > 4) add_eights<Type, kRows, 4, 2>(a, columns, sums);
        }
    }
    each<kPairs>([&](auto p) FT_INLINED {
        constexpr bool kIsWhole = 2 * p + 1 < kRows;
        each<kVectors>([&](auto v) FT_INLINED {
            finish(2 * p, v, low(sums[p][2 * v], sums[p][2 * v + 1]));
            if constexpr (kIsWhole) finish(2 * p + 1, v, high(sums[p][2 * v], sums[p][2 * v + 1]));
        });
    });
}

// At most a slab. begin(first row, first column) and finish(the same) are what a part begins and finishes with.
template <class Type, class Begin, class Finish>
FT_INLINE void slab(int rows, int eights, const int8_t* a, const int8_t* b, int columns, Begin begin, Finish finish) {
    alignas(64) int8_t zipped[kSlabEights * kEight * kPanelChannels];
    zip_columns(eights, b, columns, zipped);
    for_each_part(rows, [=, &zipped](auto count, int first) FT_INLINED {
        const int8_t* from = zipped;
        for (int column = 0; column < columns; column += kPartColumns, from += eights * kPartBytes)
            part<Type, decltype(count)::value>(eights, rows, a + first * kChunkBytes, from, begin(first, column),
                                               finish(first, column));
    });
}

// sums [rows, 32] (+)= a b.
template <class Type>
FT_INLINE void product(int rows, int eights, const int8_t* a, const int8_t* b, int columns, bool accumulate,
                       typename Type::Number* sums) {
    for (int first = 0; first < eights; first += kSlabEights, accumulate = true)
        slab<Type>(
            rows, std::min(eights - first, kSlabEights), a + first * rows * kEight, b + first * kEight * kPanelChannels, columns,
            [=](int row, int column) FT_INLINED {
                const auto* const from = sums + row * kPanelChannels + column;
                return [=](int r, int v) FT_INLINED {
                    return accumulate ? Type::load(from + r * kPanelChannels + v * 4) : typename Type::Vector{};
                };
            },
            [=](int row, int column) FT_INLINED {
                auto* const to = sums + row * kPanelChannels + column;
                return [=](int r, int v, auto found) FT_INLINED { Type::store(to + r * kPanelChannels + v * 4, found); };
            });
}

const int8_t* bytes_of(const uint16_t* numbers) { return reinterpret_cast<const int8_t*>(numbers); }

}  // namespace

void int8_block(int rows, int chunks, const int8_t* a, const int8_t* b, const int32_t*, Prefetch next, int32_t* sums) {
    prefetch(next, chunks);
    product<Int8>(rows, chunks * kChunkEights, a, b, kPanelChannels, false, sums);
}

void int8_block_scaled(int rows, int chunks, const int8_t* a, const int8_t* b, const int32_t*, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    static_assert(kSlabEights * kEight >= kGroupInputs);  // a slab has all that has one scale
    prefetch(next, chunks);
    slab<Int8>(
        rows, chunks * kChunkEights, a, b, kPanelChannels,
        [](int, int) FT_INLINED { return [](int, int) FT_INLINED { return int32x4_t{}; }; },
        [=](int row, int column) FT_INLINED {
            float* const to = totals + row * kPanelChannels + column;
            const float* const row_scales = scales + row * scale_stride;
            return [=](int r, int v, int32x4_t found) FT_INLINED {
                float* const total = to + r * kPanelChannels + v * 4;
                vst1q_f32(total, vfmaq_n_f32(vld1q_f32(total), vcvtq_f32_s32(found), row_scales[r * scale_stride]));
            };
        });
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    product<Bf16>(rows, steps / 2, bytes_of(a), bytes_of(b), columns, accumulate, sums);
}

}  // namespace farthing::FT_ISA
