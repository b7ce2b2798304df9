// AVX2 has no VNNI. Its nearest instruction, VPMADDUBSW, sums pairs in 16 bits and saturates with unsigned activations;
// with magnitudes of at most 127 on both sides it cannot: |a| * (b with a's sign), exact.
#include <immintrin.h>

#include "blocks.h"
#include "blocks_bf16.h"
#include "blocks_scaled.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kLanes = kPanelChannels / 8;

template <int kRows>
void int8_rows(int chunks, int block_rows, const uint8_t* a, const int8_t* b, int32_t* sums) {
    const __m256i ones = _mm256_set1_epi16(1), offset = _mm256_set1_epi8(static_cast<char>(kActivationOffset));
    __m256i total[kRows][kLanes];
    for (int r = 0; r < kRows; ++r)
        for (int lane = 0; lane < kLanes; ++lane) total[r][lane] = _mm256_setzero_si256();
    for (; chunks > 0; --chunks, a += block_rows * kChunkBytes) {
        for (int step = 0; step < kChunkBytes / 4; ++step, b += 128) {
#pragma GCC unroll 2
            for (int r = 0; r < kRows; ++r) {
                int32_t word;
                __builtin_memcpy(&word, a + r * kChunkBytes + step * 4, sizeof word);
                const __m256i row = _mm256_xor_si256(_mm256_set1_epi32(word), offset);
                const __m256i magnitude = _mm256_abs_epi8(row);
#pragma GCC unroll 4
                for (int lane = 0; lane < kLanes; ++lane) {
                    const __m256i weights = _mm256_load_si256(reinterpret_cast<const __m256i*>(b) + lane);
                    const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(weights, row));
                    total[r][lane] = _mm256_add_epi32(total[r][lane], _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    for (int r = 0; r < kRows; ++r)
        for (int lane = 0; lane < kLanes; ++lane)
            _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * 32) + lane, total[r][lane]);
}

}  // namespace

// Signed activations need no correction: `starts` is what other instruction sets begin with.
void int8_block(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t*, Prefetch,
                int32_t* sums) {
    int r = 0;
    for (; r + 2 <= rows; r += 2) int8_rows<2>(chunks, rows, a + r * kChunkBytes, b, sums + r * 32);
    if (r < rows) int8_rows<1>(chunks, rows, a + r * kChunkBytes, b, sums + r * 32);
}

void int8_block_scaled(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_block_scaled_generic(rows, chunks, a, b, starts, next, scales, scale_stride, totals);
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int, bool accumulate, float* sums) {
    bf16_block_generic(rows, steps, a, b, accumulate, sums);
}

}  // namespace farthing::FT_ISA
