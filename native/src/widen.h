// Stored numbers to fp32, as many as a vector has lanes: Vec is a vector of fp32 of the compiler's own types.
#pragma once

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstdint>
#include <cstring>

#include "lanes.h"

namespace farthing::FT_ISA {

struct Bf16 {
    uint16_t bits;
};
struct Fp16 {
    uint16_t bits;
};

template <class Vec>
struct WordsLike {  // as many lanes of 32 and of 16 bits
    typedef uint32_t Words __attribute__((vector_size(sizeof(Vec))));
    typedef uint16_t Halves __attribute__((vector_size(sizeof(Vec) / 2)));
};

template <class Vec>
FT_INLINE Vec as_floats(const float* from) {
    Vec value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class Vec>
FT_INLINE typename WordsLike<Vec>::Words bits_of(const void* from) {
    typename WordsLike<Vec>::Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return __builtin_convertvector(halves, typename WordsLike<Vec>::Words);
}

template <class Vec>
FT_INLINE Vec as_floats(const Bf16* from) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Vec) == 64)
        return (Vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 16);
#elif defined(__AVX2__)
    if constexpr (sizeof(Vec) == 32)
        return (Vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), 16);
#endif
    return (Vec)(bits_of<Vec>(from) << 16);
}

template <class Vec>
FT_INLINE Vec as_floats(const Fp16* from) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Vec) == 64)
        return (Vec)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(__F16C__)
    if constexpr (sizeof(Vec) == 32)
        return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#elif defined(__aarch64__)
    if constexpr (sizeof(Vec) == 16) {
        float16x4_t halves;
        std::memcpy(&halves, from, sizeof halves);
        return (Vec)vcvt_f32_f16(halves);
    }
#endif
    // The exponent grows by 112, which a product does for small numbers that have none, too; Inf and NaN keep the largest.
    const auto bits = bits_of<Vec>(from);
    const auto magnitude = bits & 0x7fffu, sign = (bits & 0x8000u) << 16;
    const Vec scaled = (Vec)(magnitude << 13) * 5.192296858534828e33f;
    using Words = typename WordsLike<Vec>::Words;
    const Words is_large = (Words)(magnitude >= 0x7c00u);
    return (Vec)((Words)scaled | (is_large & 0x7f800000u) | sign);
}

// Sixteen of them.
template <class Stored>
FT_INLINE Floats lanes_of(const Stored* from) {
#if defined(__AVX512F__)
    return as_floats<Floats>(from);
#else
    return Floats::of_parts([from](int i) { return as_floats<Floats::Part>(from + i * kPartLanes); });
#endif
}

}  // namespace farthing::FT_ISA
