// Products in fp32, in the compiler's own vector types. Sums stay in registers: with 32 of 512 bits 14 rows x 32 columns,
// with 16 of 256 bits 6 rows x 16 columns; the others hold weights and an input of a row.
#include "blocks_float.h"

#include <algorithm>
#include <utility>

#include "widen.h"

namespace farthing::FT_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRowsAtOnce = 14, kVectors = 2;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kRowsAtOnce = 6, kVectors = 2;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kRowsAtOnce = 6, kVectors = 4;
#else
constexpr int kVectorBytes = 16, kRowsAtOnce = 6, kVectors = 2;
#endif
using Vec __attribute__((vector_size(kVectorBytes))) = float;
constexpr int kVectorFloats = kVectorBytes / 4, kColumnsAtOnce = kVectors * kVectorFloats;
static_assert(kFloatBlockRows % kRowsAtOnce == 0 && kPanelChannels % kColumnsAtOnce == 0);

// GCC would load the columns anew for each row, as an operand of its multiplications, and loads would limit them.
inline __attribute__((always_inline)) void hold(Vec& value) {
#if defined(__AVX__) && !defined(__AVX512F__)
    asm("" : "+x"(value));
#else
    (void)value;
#endif
}

// kRows rows of a block that has `block_rows`, and kUsed vectors of columns.
template <class Stored, int kRows, int kUsed>
void float_rows(int k, int block_rows, const float* a, const Stored* b, bool accumulate, Prefetch next, float* sums) {
    Vec total[kRows][kUsed];
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kUsed; ++v)
            total[r][v] = accumulate ? as_floats<Vec>(sums + r * kPanelChannels + v * kVectorFloats) : Vec{};
    for (; k > 0; k -= kChunkFloats, a += block_rows * kChunkFloats, next.skip(1)) {
        for (int line = 0; line < next.chunk_bytes; line += 64) __builtin_prefetch(next.from + line);
        const float* inputs = a;
        for (int unit = std::min(k, kChunkFloats) / kInputUnit; unit > 0; --unit, inputs += kInputUnit)
#pragma GCC unroll 4
            for (int step = 0; step < kInputUnit; ++step, b += kPanelChannels) {
                Vec columns[kUsed];
#pragma GCC unroll 4
                for (int v = 0; v < kUsed; ++v) {
                    columns[v] = as_floats<Vec>(b + v * kVectorFloats);
                    hold(columns[v]);
                }
#pragma GCC unroll 14
                for (int r = 0; r < kRows; ++r) {
                    const float input = inputs[r * kChunkFloats + step];
#pragma GCC unroll 4
                    for (int v = 0; v < kUsed; ++v) total[r][v] += columns[v] * input;
                }
            }
    }
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < kUsed; ++v)
            __builtin_memcpy(sums + r * kPanelChannels + v * kVectorFloats, &total[r][v], sizeof(Vec));
}

template <class Stored, int kUsed, int... kRows>
void dispatch(std::integer_sequence<int, kRows...>, int rows, int k, int block_rows, const float* a, const Stored* b,
              bool accumulate, Prefetch next, float* sums) {
    static constexpr decltype(&float_rows<Stored, 1, kUsed>) functions[] = {float_rows<Stored, kRows + 1, kUsed>...};
    functions[rows - 1](k, block_rows, a, b, accumulate, next, sums);
}

template <class Stored>
void multiply(int rows, int k, const float* a, const void* panel, int columns, bool accumulate, Prefetch next, float* sums) {
    constexpr std::make_integer_sequence<int, kRowsAtOnce> kRowCounts;
    const Stored* const b = static_cast<const Stored*>(panel);
    for (int column = 0; column < columns; column += kColumnsAtOnce)
        for (int r = 0; r < rows; r += kRowsAtOnce) {
            const int count = std::min(kRowsAtOnce, rows - r);
            float* const to = sums + r * kPanelChannels + column;
            if constexpr (kColumnsAtOnce == kPanelChannels) {
                if (columns < kPanelChannels) {
                    dispatch<Stored, kVectors / 2>(kRowCounts, count, k, rows, a, b, accumulate, next, to);
                    return;
                }
            }
            dispatch<Stored, kVectors>(kRowCounts, count, k, rows, a + r * kChunkFloats, b + column, accumulate, next, to);
            next.chunk_bytes = 0;  // it is on its way
        }
}

}  // namespace

FloatBlock float_block(int form) {
    return form == FT_BF16 ? multiply<Bf16> : form == FT_FP16 ? multiply<Fp16> : multiply<float>;
}

}  // namespace farthing::FT_ISA
