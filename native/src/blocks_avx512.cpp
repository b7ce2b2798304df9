// 14 rows x 32 columns of sums are 28 of the 32 vector registers; two hold the weights, one the broadcast activations.
// Loops over rows must be unrolled entirely, or the compiler keeps the sums in memory at half the speed.
#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "blocks.h"
#if !defined(__AVX512BF16__)
#include "blocks_bf16.h"
#endif

namespace farthing::FT_ISA {
namespace {

constexpr int kSteps = kChunkBytes / 4;  // in a chunk

inline int word(const void* bytes) { return *static_cast<const int __attribute__((may_alias, aligned(1)))*>(bytes); }

// finish(row, its sums as two vectors).
template <int kRows, class Finish>
inline __attribute__((always_inline)) void int8_rows(int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts,
                                                     Prefetch next, Finish finish) {
    __m512i left[kRows], right[kRows];
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) left[r] = _mm512_load_si512(starts), right[r] = _mm512_load_si512(starts + 16);
    for (; chunks > 0; --chunks, a += kRows * kChunkBytes, next.skip(1)) {
        for (int line = 0; line < next.chunk_bytes; line += 64) _mm_prefetch(next.from + line, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int step = 0; step < kSteps; ++step, b += 128) {
            const __m512i b_left = _mm512_load_si512(b), b_right = _mm512_load_si512(b + 64);
#pragma GCC unroll 14
            for (int r = 0; r < kRows; ++r) {
                const __m512i row = _mm512_set1_epi32(word(a + r * kChunkBytes + step * 4));
                left[r] = _mm512_dpbusd_epi32(left[r], row, b_left);
                right[r] = _mm512_dpbusd_epi32(right[r], row, b_right);
            }
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
        asm volatile("" : "+v"(left[r]), "+v"(right[r]) : : "memory");
        finish(r, left[r], right[r]);
    }
}

template <int kRows>
void int8_sums(int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next, int32_t* sums) {
    int8_rows<kRows>(chunks, a, b, starts, next, [sums](int r, __m512i left, __m512i right) {
        _mm512_store_si512(sums + r * 32, left);
        _mm512_store_si512(sums + r * 32 + 16, right);
    });
}

template <int kRows>
void int8_totals(int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next, const float* scales,
                 int scale_stride, float* totals) {
    int8_rows<kRows>(chunks, a, b, starts, next, [=](int r, __m512i left, __m512i right) {
        const __m512 scale = _mm512_set1_ps(scales[r * scale_stride]);
        float* const to = totals + r * 32;
        _mm512_store_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(left), scale, _mm512_load_ps(to)));
        _mm512_store_ps(to + 16, _mm512_fmadd_ps(_mm512_cvtepi32_ps(right), scale, _mm512_load_ps(to + 16)));
    });
}

template <int... kRows>
void int8_dispatch(std::integer_sequence<int, kRows...>, int rows, int chunks, const uint8_t* a, const int8_t* b,
                   const int32_t* starts, Prefetch next, int32_t* sums) {
    static constexpr decltype(&int8_sums<1>) functions[] = {int8_sums<kRows + 1>...};
    functions[rows - 1](chunks, a, b, starts, next, sums);
}

template <int... kRows>
void int8_dispatch_scaled(std::integer_sequence<int, kRows...>, int rows, int chunks, const uint8_t* a, const int8_t* b,
                          const int32_t* starts, Prefetch next, const float* scales, int scale_stride, float* totals) {
    static constexpr decltype(&int8_totals<1>) functions[] = {int8_totals<kRows + 1>...};
    functions[rows - 1](chunks, a, b, starts, next, scales, scale_stride, totals);
}

#if defined(__AVX512BF16__)

// kVectors: of 16 columns.
template <int kRows, int kVectors>
void bf16_rows(int steps, const uint16_t* a, const uint16_t* b, bool accumulate, float* sums) {
    __m512 total[kRows][kVectors];
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v)
            total[r][v] = accumulate ? _mm512_load_ps(sums + r * 32 + v * 16) : _mm512_setzero_ps();
    for (; steps > 0; steps -= kSteps, a += kRows * 32) {
        const uint16_t* row_steps = a;
        for (int unit = std::min(steps, kSteps) / kStepUnit; unit > 0; --unit, row_steps += 2 * kStepUnit)
#pragma GCC unroll 4
            for (int step = 0; step < kStepUnit; ++step, b += 64) {
                __m512bh columns[kVectors];
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) columns[v] = (__m512bh)_mm512_load_si512(b + v * 32);
#pragma GCC unroll 14
                for (int r = 0; r < kRows; ++r) {
                    const __m512bh row = (__m512bh)_mm512_set1_epi32(word(row_steps + r * 32 + step * 2));
#pragma GCC unroll 2
                    for (int v = 0; v < kVectors; ++v) total[r][v] = _mm512_dpbf16_ps(total[r][v], row, columns[v]);
                }
            }
    }
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) _mm512_store_ps(sums + r * 32 + v * 16, total[r][v]);
}

template <int kVectors, int... kRows>
void bf16_dispatch(std::integer_sequence<int, kRows...>, int rows, int steps, const uint16_t* a, const uint16_t* b,
                   bool accumulate, float* sums) {
    static constexpr decltype(&bf16_rows<1, kVectors>) functions[] = {bf16_rows<kRows + 1, kVectors>...};
    functions[rows - 1](steps, a, b, accumulate, sums);
}

#endif

}  // namespace

void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                int32_t* sums) {
    int8_dispatch(std::make_integer_sequence<int, kBlockRows>{}, rows, chunks, a, b, starts, next, sums);
}

void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_dispatch_scaled(std::make_integer_sequence<int, kBlockRows>{}, rows, chunks, a, b, starts, next, scales,
                         scale_stride, totals);
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
#if defined(__AVX512BF16__)
    constexpr std::make_integer_sequence<int, kBlockRows> kRowCounts;
    if (columns == kPanelChannels)
        bf16_dispatch<2>(kRowCounts, rows, steps, a, b, accumulate, sums);
    else
        bf16_dispatch<1>(kRowCounts, rows, steps, a, b, accumulate, sums);
#else
    bf16_block_generic(rows, steps, a, b, columns, accumulate, sums);
#endif
}

}  // namespace farthing::FT_ISA
