// 14 rows x 32 columns of sums are 28 of the 32 vector registers; two hold the weights, one the broadcast activations.
// Loops over rows must be unrolled entirely, or the compiler keeps the sums in memory at half the speed.
#include <immintrin.h>

#include <utility>

#include "blocks.h"
#if !defined(__AVX512BF16__)
#include "blocks_bf16.h"
#endif

namespace farthing::FT_ISA {
namespace {

constexpr int kSteps = kChunkBytes / 4;

inline int word(const void* bytes) { return *static_cast<const int __attribute__((may_alias, aligned(1)))*>(bytes); }

template <int kRows>
void int8_rows(int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next,
               int32_t* sums) {
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
        _mm512_store_si512(sums + r * 32, left[r]);
        _mm512_store_si512(sums + r * 32 + 16, right[r]);
    }
}

template <int... kRows>
void int8_dispatch(std::integer_sequence<int, kRows...>, int rows, int chunks, const uint8_t* a, const int8_t* b,
                   const int32_t* starts, Prefetch next, int32_t* sums) {
    using Function = void (*)(int, const uint8_t*, const int8_t*, const int32_t*, Prefetch, int32_t*);
    static constexpr Function functions[] = {int8_rows<kRows + 1>...};
    functions[rows - 1](chunks, a, b, starts, next, sums);
}

#if defined(__AVX512BF16__)

template <int kRows>
void bf16_rows(int chunks, const uint16_t* a, const uint16_t* b, bool accumulate, float* sums) {
    __m512 left[kRows], right[kRows];
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
        left[r] = accumulate ? _mm512_load_ps(sums + r * 32) : _mm512_setzero_ps();
        right[r] = accumulate ? _mm512_load_ps(sums + r * 32 + 16) : _mm512_setzero_ps();
    }
    for (; chunks > 0; --chunks, a += kRows * 32) {
#pragma GCC unroll 4
        for (int step = 0; step < kSteps; ++step, b += 64) {
            const __m512bh b_left = (__m512bh)_mm512_load_si512(b), b_right = (__m512bh)_mm512_load_si512(b + 32);
#pragma GCC unroll 14
            for (int r = 0; r < kRows; ++r) {
                const __m512bh row = (__m512bh)_mm512_set1_epi32(word(a + r * 32 + step * 2));
                left[r] = _mm512_dpbf16_ps(left[r], row, b_left);
                right[r] = _mm512_dpbf16_ps(right[r], row, b_right);
            }
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
        _mm512_store_ps(sums + r * 32, left[r]);
        _mm512_store_ps(sums + r * 32 + 16, right[r]);
    }
}

template <int... kRows>
void bf16_dispatch(std::integer_sequence<int, kRows...>, int rows, int chunks, const uint16_t* a, const uint16_t* b,
                   bool accumulate, float* sums) {
    using Function = void (*)(int, const uint16_t*, const uint16_t*, bool, float*);
    static constexpr Function functions[] = {bf16_rows<kRows + 1>...};
    functions[rows - 1](chunks, a, b, accumulate, sums);
}

#endif

}  // namespace

void int8_block(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next,
                int32_t* sums) {
    int8_dispatch(std::make_integer_sequence<int, kBlockRows>{}, rows, chunks, a, b, starts, next, sums);
}

void bf16_block(int rows, int chunks, const uint16_t* a, const uint16_t* b, bool accumulate, float* sums) {
#if defined(__AVX512BF16__)
    bf16_dispatch(std::make_integer_sequence<int, kBlockRows>{}, rows, chunks, a, b, accumulate, sums);
#else
    bf16_block_generic(rows, chunks, a, b, accumulate, sums);
#endif
}

}  // namespace farthing::FT_ISA
