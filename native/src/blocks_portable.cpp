// For CPUs that have no more than every CPU of their kind, and the reference for the others: SSE2 on x86-64, elsewhere plain
// vectors. A block goes through the kernel in parts of 3 rows and 8 columns, whose sums stay in registers.
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <utility>

#include "blocks.h"
#include "blocks_bf16.h"
#include "blocks_scaled.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kSteps = kChunkBytes / 4;  // in a chunk
constexpr int kRowsAtOnce = 3, kColumnsAtOnce = 8, kVectors = kColumnsAtOnce / 2;
// Rows of a block and widened weights of 8 columns stay in the L1 cache.
constexpr int kPieceChunks = 8;

// Two columns by four inputs, or, as sums, two columns by two halves of the inputs.
typedef int16_t Products __attribute__((vector_size(16)));
typedef int32_t Sums __attribute__((vector_size(16)));

// Weights of 8 columns: widened, and their columns' vectors one after the other.
struct WideStep {
    Products columns[kVectors];
};

void widen(int chunks, const int8_t* b, WideStep* to) {
    for (int step = 0; step < chunks * kSteps; ++step, b += kPanelChannels * 4)
        for (int v = 0; v < kVectors; ++v) {
            typedef int8_t Weights __attribute__((vector_size(8)));
            Weights weights;
            std::memcpy(&weights, b + v * sizeof weights, sizeof weights);
            to[step].columns[v] = __builtin_convertvector(weights, Products);
        }
}

inline Products broadcast(const int16_t* inputs) {
    int64_t four;
    std::memcpy(&four, inputs, sizeof four);
    typedef int64_t Fours __attribute__((vector_size(16)));
    return (Products)Fours{four, four};
}

inline void add_products(Products row, Products weights, Sums& sums) {
#if defined(__SSE2__)
    sums += (Sums)_mm_madd_epi16((__m128i)row, (__m128i)weights);
#else
    // 127 * 127 has 15 bits. Each of the two halves of 32 bits is extended by its sign.
    const Sums products = (Sums)(row * weights);
    typedef uint32_t Words __attribute__((vector_size(16)));
    sums += ((Sums)((Words)products << 16) >> 16) + (products >> 16);
#endif
}

// finish(row, first of two columns, sums of their two halves).
template <class Finish, int... kRow>
inline void int8_rows(std::integer_sequence<int, kRow...>, int chunks, int block_rows, const int16_t* a, const WideStep* b,
                      Finish finish) {
    struct RowSums {
        Sums first, second, third, fourth;
    } sums[sizeof...(kRow)] = {};
    for (; chunks > 0; --chunks, a += block_rows * kChunkBytes) {
        const int16_t* inputs = a;
        for (int step = 0; step < kSteps; ++step, inputs += 4, ++b) {
            const auto add = [&](Products row, RowSums& to) {
                add_products(row, b->columns[0], to.first);
                add_products(row, b->columns[1], to.second);
                add_products(row, b->columns[2], to.third);
                add_products(row, b->columns[3], to.fourth);
            };
            (add(broadcast(inputs + kRow * kChunkBytes), sums[kRow]), ...);
        }
    }
    const auto finish_row = [&](int r, const RowSums& of) {
        finish(r, 0, of.first);
        finish(r, 2, of.second);
        finish(r, 4, of.third);
        finish(r, 6, of.fourth);
    };
    (finish_row(kRow, sums[kRow]), ...);
}

}  // namespace

void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t*, Prefetch, int32_t* sums) {
    alignas(64) WideStep wide[kPieceChunks * kSteps];
    const RowBlocks parts(rows, kRowsAtOnce);
    for (int first = 0; first < chunks; first += kPieceChunks) {
        const int count = std::min(kPieceChunks, chunks - first);
        for (int column = 0; column < kPanelChannels; column += kColumnsAtOnce) {
            widen(count, b + first * kChunkBytes * kPanelChannels + column * 4, wide);
            for (int index = 0; index < parts.count(); ++index) {
                const Range part = parts[index];
                const int16_t* const part_rows = a + (first * rows + part.begin) * kChunkBytes;
                int32_t* const to = sums + part.begin * kPanelChannels + column;
                const auto finish = [to, first](int r, int c, Sums halves) {
                    int32_t* const pair = to + r * kPanelChannels + c;
                    pair[0] = halves[0] + halves[1] + (first ? pair[0] : 0);
                    pair[1] = halves[2] + halves[3] + (first ? pair[1] : 0);
                };
                if (part.size() == 3)
                    int8_rows(std::make_integer_sequence<int, 3>{}, count, rows, part_rows, wide, finish);
                else if (part.size() == 2)
                    int8_rows(std::make_integer_sequence<int, 2>{}, count, rows, part_rows, wide, finish);
                else
                    int8_rows(std::make_integer_sequence<int, 1>{}, count, rows, part_rows, wide, finish);
            }
        }
    }
}

void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    int8_block_scaled_generic(rows, chunks, a, b, starts, next, scales, scale_stride, totals);
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    bf16_block_generic(rows, steps, a, b, columns, accumulate, sums);
}

}  // namespace farthing::FT_ISA
