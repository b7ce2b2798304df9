// Sixteen floats at once, in the compiler's own vector types: one source for every instruction set, and never left to the
// compiler's mood. Sums go in a fixed order, so results do not depend on how wide the registers are.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace farthing::FT_ISA {

constexpr int kLanes = 16;
using Floats __attribute__((vector_size(64))) = float;
using Words __attribute__((vector_size(64))) = uint32_t;
using Ints __attribute__((vector_size(64))) = int32_t;
using Shorts __attribute__((vector_size(32))) = uint16_t;
using Bytes __attribute__((vector_size(16))) = uint8_t;

#define FT_INLINE inline __attribute__((always_inline))  // vectors must not cross calls: ABIs differ by register width

template <class Vector, class T>
FT_INLINE Vector load(const T* from) {
    Vector value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

FT_INLINE Floats load_floats(const float* from) { return load<Floats>(from); }

FT_INLINE Floats to_floats(const int32_t* from) { return __builtin_convertvector(load<Ints>(from), Floats); }

template <class Vector, class T>
FT_INLINE void store(T* to, Vector value) {
    std::memcpy(to, &value, sizeof value);
}

FT_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }
FT_INLINE Floats magnitude(Floats x) { return (Floats)((Words)x & 0x7fffffffu); }

template <class Combine>
FT_INLINE float reduce(Floats x, Combine combine) {
    constexpr Words kHalves = {8, 9, 10, 11, 12, 13, 14, 15}, kQuarters = {4, 5, 6, 7}, kPairs = {2, 3}, kLast = {1};
    x = combine(x, __builtin_shuffle(x, kHalves));
    x = combine(x, __builtin_shuffle(x, kQuarters));
    x = combine(x, __builtin_shuffle(x, kPairs));
    x = combine(x, __builtin_shuffle(x, kLast));
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
