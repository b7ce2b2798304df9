// bf16_block for CPUs with AVX2 and FMA: a bf16 number is the upper half of a float.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "blocks.h"

namespace farthing::FT_ISA {

namespace fma {

constexpr int kChunkSteps = kChunkBytes / 4, kChunkFloats = 2 * kChunkSteps;
constexpr int kPieceSteps = 128;  // so that rows as floats stay in the L1 cache
constexpr int kRowsAtOnce = 6, kVectors = 2;  // of sums in registers

// Rows [chunks][rows][32] as floats.
inline void widen(const uint16_t* a, int count, float* to) {
    for (int i = 0; i < count; i += 8) {
        const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i));
        _mm256_store_ps(to + i, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16)));
    }
}

// 16 columns of some rows: a, b and sums at the first of them.
template <int kRows>
void rows(int steps, int block_rows, const float* a, const uint16_t* b, bool accumulate, float* sums) {
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    __m256 total[kRows][kVectors];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v)
            total[r][v] = accumulate ? _mm256_load_ps(sums + r * kPanelChannels + v * 8) : _mm256_setzero_ps();
    for (; steps > 0; steps -= kChunkSteps, a += block_rows * kChunkFloats) {
        const float* inputs = a;
        for (int step = std::min(steps, kChunkSteps); step > 0; --step, inputs += 2, b += 2 * kPanelChannels) {
            const __m256i pairs[kVectors] = {_mm256_load_si256(reinterpret_cast<const __m256i*>(b)),
                                             _mm256_load_si256(reinterpret_cast<const __m256i*>(b) + 1)};
            __m256 columns[kVectors];
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) columns[v] = _mm256_castsi256_ps(_mm256_slli_epi32(pairs[v], 16));
#pragma GCC unroll 6
            for (int r = 0; r < kRows; ++r) {
                const __m256 row = _mm256_broadcast_ss(inputs + r * kChunkFloats);
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) total[r][v] = _mm256_fmadd_ps(row, columns[v], total[r][v]);
            }
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) columns[v] = _mm256_castsi256_ps(_mm256_and_si256(pairs[v], upper));
#pragma GCC unroll 6
            for (int r = 0; r < kRows; ++r) {
                const __m256 row = _mm256_broadcast_ss(inputs + r * kChunkFloats + 1);
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) total[r][v] = _mm256_fmadd_ps(row, columns[v], total[r][v]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) _mm256_store_ps(sums + r * kPanelChannels + v * 8, total[r][v]);
}

template <int... kRows>
void dispatch(std::integer_sequence<int, kRows...>, int count, int steps, int block_rows, const float* a, const uint16_t* b,
              bool accumulate, float* sums) {
    static constexpr decltype(&rows<1>) functions[] = {rows<kRows + 1>...};
    functions[count - 1](steps, block_rows, a, b, accumulate, sums);
}

}  // namespace fma

// A sum's products are added one after the other, whatever else is asked for.
inline void bf16_block_fma(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate,
                           float* sums) {
    alignas(64) float wide[kBlockRows * 2 * fma::kPieceSteps];
    const RowBlocks groups(rows, fma::kRowsAtOnce);
    for (int first = 0; first < steps; first += fma::kPieceSteps, accumulate = true) {
        const int count = std::min(fma::kPieceSteps, steps - first);
        fma::widen(a + first * 2 * rows, static_cast<int>(round_up(count, fma::kChunkSteps)) * 2 * rows, wide);
        for (int column = 0; column < columns; column += 8 * fma::kVectors)
            for (int group = 0; group < groups.count(); ++group) {
                const int row = groups[group].begin;
                fma::dispatch(std::make_integer_sequence<int, fma::kRowsAtOnce>{}, groups[group].size(), count, rows,
                              wide + row * fma::kChunkFloats, b + (first * kPanelChannels + column) * 2, accumulate,
                              sums + row * kPanelChannels + column);
            }
    }
}

}  // namespace farthing::FT_ISA
