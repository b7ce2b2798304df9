// Rows in fp32 times a panel of a FloatMatrix: the multiplication of the exact forms.
#pragma once

#include "blocks.h"
#include "floats.h"

namespace farthing::FT_ISA {

// As many rows as keep their sums in registers, or twice as many.
#if defined(__AVX512F__)
constexpr int kFloatBlockRows = 14;
#else
constexpr int kFloatBlockRows = 12;
#endif
constexpr int kInputUnit = 4;

// sums [rows, 32] (+)= a b: a as in FloatTile, b the panel's numbers [k][32], from any of them on; k a multiple of kInputUnit.
// A sum is added up input by input, whatever the number of rows is. Of 32 sums, only the first `columns` (16 or 32) need be
// right. On the way, what `next` says is fetched into the cache.
using FloatBlock = void (*)(int rows, int k, const float* a, const void* b, int columns, bool accumulate, Prefetch next,
                            float* sums);

// For numbers of that form.
FloatBlock float_block(int form);

}  // namespace farthing::FT_ISA
