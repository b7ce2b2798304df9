// AVX2 has no VNNI. Its VPMADDWD multiplies pairs of 16 bits and adds them up in 32, exact: rows are stored in 16 bits, and
// weights are widened as they are loaded. A vector has four columns, two sums (of every second pair of inputs) for each; the
// two are added at the end.
#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "blocks.h"
#include "blocks_fma.h"
#include "blocks_scaled.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kSteps = kChunkBytes / 4;  // in a chunk
// 6 rows x 2 vectors of sums are 12 of the 16 vector registers; two hold weights, one the row's inputs, one the products.
constexpr int kRowsAtOnce = 6, kColumnsAtOnce = 8;
// Rows of a block and widened weights of 8 columns stay in the L1 cache.
constexpr int kPieceChunks = 8;

// What becomes of weights: widened, widened and kept for the next rows, or taken as they were kept.
enum class Weights { kWidened, kWidenedAndKept, kKept };

template <Weights kWeights>
inline __m256i load_weights(const int8_t* weights, __m256i* kept) {
    if constexpr (kWeights == Weights::kKept) return _mm256_load_si256(kept);
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(weights)));
    if constexpr (kWeights == Weights::kWidenedAndKept) _mm256_store_si256(kept, wide);
    return wide;
}

// Adds a row's four inputs times the weights of 8 columns. In assembly, since compilers that see all rows' products at once run
// out of registers.
inline __attribute__((always_inline)) void add_products(const int16_t* inputs, __m256i b_left, __m256i b_right, __m256i& left,
                                                        __m256i& right) {
    struct Inputs {
        int16_t four[4];
    };
    __m256i row, products;
    asm("vpbroadcastq %[inputs], %[row]\n\t"
        "vpmaddwd %[b_left], %[row], %[products]\n\t"
        "vpmaddwd %[b_right], %[row], %[row]\n\t"
        "vpaddd %[products], %[left], %[left]\n\t"
        "vpaddd %[row], %[right], %[right]"
        : [left] "+x"(left), [right] "+x"(right), [row] "=&x"(row), [products] "=&x"(products)
        : [inputs] "m"(*reinterpret_cast<const Inputs*>(inputs)), [b_left] "x"(b_left), [b_right] "x"(b_right));
}

// finish(row, sums of 8 columns); a, b: of the first row and column. next: of these columns.
template <Weights kWeights, class Finish, int... kRow>
inline __attribute__((always_inline)) void int8_rows(std::integer_sequence<int, kRow...>, int chunks, int block_rows,
                                                     const int16_t* a, const int8_t* b, __m256i* kept, Prefetch next,
                                                     Finish finish) {
    __m256i left[] = {(static_cast<void>(kRow), _mm256_setzero_si256())...};
    __m256i right[] = {(static_cast<void>(kRow), _mm256_setzero_si256())...};
    for (; chunks > 0; --chunks, a += block_rows * kChunkBytes, next.skip(1)) {
        if constexpr (kWeights != Weights::kKept)
            for (int line = 0; line < next.chunk_bytes; line += 64 * (kPanelChannels / kColumnsAtOnce))
                _mm_prefetch(next.from + line, _MM_HINT_T0);
        const int16_t* inputs = a;
#pragma GCC unroll 1
        for (int step = 0; step < kSteps; ++step, inputs += 4, b += kPanelChannels * 4, kept += 2) {
            const __m256i b_left = load_weights<kWeights>(b, kept), b_right = load_weights<kWeights>(b + 16, kept + 1);
            (add_products(inputs + kRow * kChunkBytes, b_left, b_right, left[kRow], right[kRow]), ...);
        }
    }
    (finish(kRow, _mm256_permute4x64_epi64(_mm256_hadd_epi32(left[kRow], right[kRow]), 0b11011000)), ...);
}

// The rows in groups of nearly the same size, the columns 8 at a time: finish(row, first column, sums).
template <class Finish, int... kRows>
inline void int8_piece(std::integer_sequence<int, kRows...>, int rows, int chunks, const int16_t* a, const int8_t* b,
                       Prefetch next, Finish finish) {
    alignas(64) __m256i kept[kPieceChunks * kSteps * 2];
    const RowBlocks groups(rows, kRowsAtOnce);
    for (int column = 0; column < kPanelChannels; column += kColumnsAtOnce, next.from += 64) {
        for (int group = 0; group < groups.count(); ++group) {
            const Range range = groups[group];
            const auto multiply = [&](auto row_numbers) {
                const int16_t* const first_row = a + range.begin * kChunkBytes;
                const auto finish_row = [&](int r, __m256i sums) { finish(range.begin + r, column, sums); };
                const int8_t* const columns = b + column * 4;
                if (groups.count() == 1)
                    int8_rows<Weights::kWidened>(row_numbers, chunks, rows, first_row, columns, kept, next, finish_row);
                else if (group == 0)
                    int8_rows<Weights::kWidenedAndKept>(row_numbers, chunks, rows, first_row, columns, kept, next, finish_row);
                else
                    int8_rows<Weights::kKept>(row_numbers, chunks, rows, first_row, columns, kept, next, finish_row);
            };
            ((range.size() == kRows + 1 ? multiply(std::make_integer_sequence<int, kRows + 1>{}) : void()), ...);
        }
    }
}

constexpr std::make_integer_sequence<int, kRowsAtOnce> kRowCounts;

}  // namespace

void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t*, Prefetch next, int32_t* sums) {
    for (int first = 0; first < chunks; first += kPieceChunks, next.skip(kPieceChunks)) {
        const int count = std::min(kPieceChunks, chunks - first);
        int8_piece(kRowCounts, rows, count, a + first * rows * kChunkBytes, b + first * kChunkBytes * kPanelChannels, next,
                   [sums, first](int r, int column, __m256i found) {
                       __m256i* const to = reinterpret_cast<__m256i*>(sums + r * kPanelChannels + column);
                       _mm256_store_si256(to, first ? _mm256_add_epi32(_mm256_load_si256(to), found) : found);
                   });
    }
}

void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    if (chunks > kPieceChunks) {
        int8_block_scaled_generic(rows, chunks, a, b, starts, next, scales, scale_stride, totals);
        return;
    }
    int8_piece(kRowCounts, rows, chunks, a, b, next, [=](int r, int column, __m256i sums) {
        float* const to = totals + r * kPanelChannels + column;
        const __m256 scale = _mm256_broadcast_ss(scales + r * scale_stride);
        _mm256_store_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, _mm256_load_ps(to)));
    });
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    bf16_block_fma(rows, steps, a, b, columns, accumulate, sums);
}

}  // namespace farthing::FT_ISA
