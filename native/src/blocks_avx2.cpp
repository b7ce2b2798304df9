// AVX2 has no VNNI. Its VPMADDWD multiplies pairs of 16 bits and adds them up in 32, exact: rows are stored in 16 bits, and
// weights are widened as they are loaded. A vector has four columns, two sums (of every second pair of inputs) for each; the
// two are added at the end.
#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "blocks.h"
#include "blocks_bf16.h"
#include "blocks_scaled.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kSteps = kChunkBytes / 4;  // in a chunk
constexpr int kStepBytes = kPanelChannels * 4;
// 6 rows x 2 vectors of sums are 12 of the 16 vector registers; two hold weights, one the row's inputs, one the products.
constexpr int kRowsAtOnce = 6, kColumnsAtOnce = 8;

inline __m256i widened(const int8_t* weights) {
    return _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(weights)));
}

inline __m256i broadcast(const int16_t* inputs) {
    long long four;
    __builtin_memcpy(&four, inputs, sizeof four);
    return _mm256_set1_epi64x(four);
}

// Of 8 columns: b is the panel's at the first of them, sums likewise.
template <int kRows>
void int8_rows(int chunks, int block_rows, const int16_t* a, const int8_t* b, int32_t* sums) {
    __m256i left[kRows], right[kRows];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) left[r] = right[r] = _mm256_setzero_si256();
    for (; chunks > 0; --chunks, a += block_rows * kChunkBytes) {
#pragma GCC unroll 2
        for (int step = 0; step < kSteps; ++step, b += kStepBytes) {
            const __m256i b_left = widened(b), b_right = widened(b + 16);
#pragma GCC unroll 6
            for (int r = 0; r < kRows; ++r) {
                const __m256i row = broadcast(a + r * kChunkBytes + step * 4);
                left[r] = _mm256_add_epi32(left[r], _mm256_madd_epi16(row, b_left));
                right[r] = _mm256_add_epi32(right[r], _mm256_madd_epi16(row, b_right));
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
        const __m256i crossed = _mm256_permute4x64_epi64(_mm256_hadd_epi32(left[r], right[r]), 0b11011000);
        _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * kPanelChannels), crossed);
    }
}

template <int... kRows>
void int8_dispatch(std::integer_sequence<int, kRows...>, int rows, int chunks, int block_rows, const int16_t* a,
                   const int8_t* b, int32_t* sums) {
    static constexpr decltype(&int8_rows<1>) functions[] = {int8_rows<kRows + 1>...};
    functions[rows - 1](chunks, block_rows, a, b, sums);
}

}  // namespace

void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t*, Prefetch, int32_t* sums) {
    constexpr std::make_integer_sequence<int, kRowsAtOnce> kRowCounts;
    for (int column = 0; column < kPanelChannels; column += kColumnsAtOnce)
        for (int r = 0; r < rows; r += kRowsAtOnce)
            int8_dispatch(kRowCounts, std::min(kRowsAtOnce, rows - r), chunks, rows, a + r * kChunkBytes, b + column * 4,
                          sums + r * kPanelChannels + column);
}

void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_block_scaled_generic(rows, chunks, a, b, starts, next, scales, scale_stride, totals);
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int, bool accumulate, float* sums) {
    bf16_block_generic(rows, steps, a, b, accumulate, sums);
}

}  // namespace farthing::FT_ISA
