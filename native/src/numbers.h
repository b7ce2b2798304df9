// What the form of a layer's weights decides: how matrices and rows lie, and in which numbers attention multiplies.
#pragma once

#include "blocks.h"
#include "blocks_float.h"

namespace farthing::FT_ISA {

struct Int8Numbers {
    static constexpr bool kIsExact = false;
    static constexpr int kBlockRows = FT_ISA::kBlockRows;
    using Matrix = PackedMatrix;
    using Tile = QuantizedTile;
    using Attended = uint16_t;  // bf16

    static Matrix matrix(int, const void* bytes, int n, int k) { return {bytes, n, k}; }
};

struct FloatNumbers {
    static constexpr bool kIsExact = true;
    static constexpr int kBlockRows = kFloatBlockRows;
    using Matrix = FloatMatrix;
    using Tile = FloatTile;
    using Attended = float;

    static Matrix matrix(int form, const void* bytes, int n, int k) { return {form, bytes, n, k}; }
};

}  // namespace farthing::FT_ISA
