// Floats to bf16 (the upper half of a float), rounded to nearest, ties to even.
#pragma once

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include "lanes.h"

namespace farthing::FT_ISA {

// In the low half of each lane.
FT_INLINE Words to_bf16(Floats x) {
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    return Words::of_parts([&](int i) {
        return (Words::Part)vmovl_u16(vreinterpret_u16_bf16(vcvt_bf16_f32((float32x4_t)x.part[i])));
    });
#else
    const Words bits = (Words)x;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
#endif
}

// Lane i holds bf16 of even[i] (low half) and odd[i].
FT_INLINE Words bf16_pairs(Floats even, Floats odd) { return to_bf16(even) | to_bf16(odd) << 16; }

// 16 consecutive values.
FT_INLINE void store_bf16(uint16_t* to, Floats x) {
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    for (int i = 0; i < kParts; i += 2) {
        const bfloat16x8_t low = vcvtq_low_bf16_f32((float32x4_t)x.part[i]);
        vst1q_u16(to + i * kPartLanes, vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(low, (float32x4_t)x.part[i + 1])));
    }
#else
    store_shorts(to, to_bf16(x));
#endif
}

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
// Four at a time, `stride` apart.
FT_INLINE void store_bf16_pieces(uint16_t* to, int stride, Floats x) {
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) vst1_u16(to + i * stride, vreinterpret_u16_bf16(vcvt_bf16_f32((float32x4_t)x.part[i])));
}
#endif

// 32 of them.
FT_INLINE void store_bf16(uint16_t* to, Floats first, Floats second) {
#if defined(__AVX512BF16__)
    store(to, (Words)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#else
    store_bf16(to, first);
    store_bf16(to + kLanes, second);
#endif
}

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
