// Sixteen numbers of 32 bits at once, in the compiler's own vector types: one source for every instruction set, and never left
// to the compiler's mood. Sums go in a fixed order, so results do not depend on how wide the registers are.
//
// Sources use no more than all forms of these types have: arithmetic, comparisons, casts that keep the bits, and the functions
// here in place of the compiler's conversions, shuffles and "?:".
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include <cmath>
#include <cstdint>

#define FT_INLINE inline __attribute__((always_inline))  // vectors must not cross calls: ABIs differ by register width
#define FT_INLINED __attribute__((always_inline))  // behind a lambda's parameters, for the same reason

namespace farthing::FT_ISA {
constexpr int kLanes = 16;
}

#if defined(__AVX512F__)
#include "lanes_whole.h"
#else
#include "lanes_split.h"
#endif

namespace farthing::FT_ISA {

FT_INLINE Floats load_floats(const float* from) { return load<Floats>(from); }

FT_INLINE Floats to_floats(const int32_t* from) { return converted<Floats>(load<Ints>(from)); }

FT_INLINE Ints lane_numbers() {
    static constexpr int32_t kNumbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return load<Ints>(kNumbers);
}

// The lane whose number differs in the bits of kStep.
template <int kStep>
struct Across {
    static constexpr int of(int lane) { return lane ^ kStep; }
};
template <int kStep>
FT_INLINE Floats across(Floats x) {
    return shuffled<Across<kStep>>(x, x);
}

FT_INLINE Floats magnitude(Floats x) { return (Floats)((Words)x & 0x7fffffffu); }

template <class Combine>
FT_INLINE float reduce(Floats x, Combine combine) {
    x = combine(x, across<8>(x));
    x = combine(x, across<4>(x));
    x = combine(x, across<2>(x));
    x = combine(x, across<1>(x));
    return x[0];
}

FT_INLINE float largest_of(Floats x) {
    return reduce(x, [](Floats a, Floats b) { return larger(a, b); });
}
FT_INLINE float sum_of(Floats x) {
    return reduce(x, [](Floats a, Floats b) { return a + b; });
}

// 1 / root mean square of x [k], k a multiple of 16.
FT_INLINE float inverse_rms(const float* x, int k, float eps) {
    Floats squares = {};
    for (int i = 0; i < k; i += kLanes) squares += load_floats(x + i) * load_floats(x + i);
    return 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(k) + eps);
}

// Adding 1.5 * 2^23 leaves a float's value, rounded to the nearest integer (ties to even), in its low bits: one addition
// in place of a conversion that older instruction sets do not have.
constexpr float kRoundingMagic = 12582912.0f;

}  // namespace farthing::FT_ISA
