// VNNI on registers of 256 bits, for CPUs without AVX-512: VPDPBUSD multiplies four bytes of 8 columns by a row's four.
#include <immintrin.h>

#include <utility>

#include "blocks.h"
#include "blocks_fma.h"

// AVX-512's form of the same instruction, for tests on CPUs that have only that (build_native.py, FT_TEST_AVXVNNI). Headers
// come before, so that they are compiled as they are without it.
#if defined(FT_AVXVNNI_BY_AVX512)
#pragma GCC target("avx512vnni,avx512vl")
#endif

namespace farthing::FT_ISA {
namespace {

constexpr int kSteps = kChunkBytes / 4;  // in a chunk
// 6 rows x 2 vectors of sums are 12 of the 16 vector registers; two hold weights, one the row's inputs.
constexpr int kRowsAtOnce = 6, kColumnsAtOnce = 16;

inline __attribute__((always_inline)) void add_products(const uint8_t* inputs, __m256i b_left, __m256i b_right, __m256i& left,
                                                        __m256i& right) {
    int32_t four;
    __builtin_memcpy(&four, inputs, sizeof four);
    const __m256i row = _mm256_set1_epi32(four);
#if defined(FT_AVXVNNI_BY_AVX512)
    left = _mm256_dpbusd_epi32(left, row, b_left);
    right = _mm256_dpbusd_epi32(right, row, b_right);
#else
    left = _mm256_dpbusd_avx_epi32(left, row, b_left);
    right = _mm256_dpbusd_avx_epi32(right, row, b_right);
#endif
}

// finish(row, which 8 columns, sums); a, b, starts and next: of the first row and of these 16 columns.
template <class Finish, int... kRow>
inline __attribute__((always_inline)) void int8_rows(std::integer_sequence<int, kRow...>, int chunks, int block_rows,
                                                     const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next,
                                                     Finish finish) {
    const auto load = [](const void* from) { return _mm256_load_si256(static_cast<const __m256i*>(from)); };
    __m256i left[] = {(static_cast<void>(kRow), load(starts))...};
    __m256i right[] = {(static_cast<void>(kRow), load(starts + 8))...};
    for (; chunks > 0; --chunks, a += block_rows * kChunkBytes, next.skip(1)) {
        for (int line = 0; line < next.chunk_bytes; line += 64 * (kPanelChannels / kColumnsAtOnce))
            _mm_prefetch(next.from + line, _MM_HINT_T0);
        const uint8_t* inputs = a;
#pragma GCC unroll 1
        for (int step = 0; step < kSteps; ++step, inputs += 4, b += kPanelChannels * 4) {
            const __m256i b_left = load(b), b_right = load(b + 32);
            (add_products(inputs + kRow * kChunkBytes, b_left, b_right, left[kRow], right[kRow]), ...);
        }
    }
    (finish(kRow, 0, left[kRow]), ...);
    (finish(kRow, 8, right[kRow]), ...);
}

// The rows in groups of nearly the same size, the columns 16 at a time: finish(row, first column, sums of 8).
template <class Finish, int... kRows>
inline void int8_groups(std::integer_sequence<int, kRows...>, int rows, int chunks, const uint8_t* a, const int8_t* b,
                        const int32_t* starts, Prefetch next, Finish finish) {
    const RowBlocks groups(rows, kRowsAtOnce);
    for (int column = 0; column < kPanelChannels; column += kColumnsAtOnce, next.from += 64) {
        for (int group = 0; group < groups.count(); ++group) {
            const Range range = groups[group];
            Prefetch fetched = next;  // by the first rows
            if (group > 0) fetched.chunk_bytes = 0;
            const auto multiply = [&](auto row_numbers) {
                int8_rows(row_numbers, chunks, rows, a + range.begin * kChunkBytes, b + column * 4, starts + column, fetched,
                          [&](int r, int half, __m256i sums) { finish(range.begin + r, column + half, sums); });
            };
            ((range.size() == kRows + 1 ? multiply(std::make_integer_sequence<int, kRows + 1>{}) : void()), ...);
        }
    }
}

constexpr std::make_integer_sequence<int, kRowsAtOnce> kRowCounts;

}  // namespace

void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next, int32_t* sums) {
    int8_groups(kRowCounts, rows, chunks, a, b, starts, next, [sums](int r, int column, __m256i found) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r * kPanelChannels + column), found);
    });
}

void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_groups(kRowCounts, rows, chunks, a, b, starts, next, [=](int r, int column, __m256i sums) {
        float* const to = totals + r * kPanelChannels + column;
        const __m256 scale = _mm256_broadcast_ss(scales + r * scale_stride);
        _mm256_store_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, _mm256_load_ps(to)));
    });
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    bf16_block_fma(rows, steps, a, b, columns, accumulate, sums);
}

}  // namespace farthing::FT_ISA
