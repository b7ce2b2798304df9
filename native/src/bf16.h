// Floats to bf16 (the upper half of a float), rounded to nearest, ties to even.
#pragma once

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include "lanes.h"

namespace farthing::FT_ISA {

// In the low half of each lane.
FT_INLINE Words to_bf16(Floats x) {
    const Words bits = (Words)x;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

// Lane i holds bf16 of even[i] (low half) and odd[i].
FT_INLINE Words bf16_pairs(Floats even, Floats odd) { return to_bf16(even) | to_bf16(odd) << 16; }

// 32 consecutive values.
FT_INLINE void store_bf16(uint16_t* to, Floats first, Floats second) {
#if defined(__AVX512BF16__)
    store(to, (Words)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#else
    store_shorts(to, to_bf16(first));
    store_shorts(to + kLanes, to_bf16(second));
#endif
}

// 16 of them.
FT_INLINE void store_bf16(uint16_t* to, Floats x) { store_shorts(to, to_bf16(x)); }

// Widths are multiples of 16.
inline void store_bf16_row(const float* from, int width, uint16_t* to) {
    int i = 0;
    for (; i + 2 * kLanes <= width; i += 2 * kLanes) store_bf16(to + i, load_floats(from + i), load_floats(from + i + kLanes));
    if (i < width) store_bf16(to + i, load_floats(from + i));
}

inline void load_bf16_row(const uint16_t* from, int width, float* to) {
    for (int i = 0; i < width; i += kLanes)
        store(to + i, (Floats)(widened(from + i) << 16));
}

}  // namespace farthing::FT_ISA
