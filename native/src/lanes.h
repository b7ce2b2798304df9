// Sixteen floats at once, in the compiler's own vector types: one source for every instruction set, and never left to the
// compiler's mood. Sums go in a fixed order, so results do not depend on how wide the registers are.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

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

// Lane i of the result is lane From::of(i) of `a`, or of `b` from kLanes on. GCC 12 and Clang both take this form.
template <class From, class Vector, int... kLane>
FT_INLINE Vector shuffled(Vector a, Vector b, std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(a, b, From::of(kLane)...);
}
template <class From, class Vector>
FT_INLINE Vector shuffled(Vector a, Vector b) {
    return shuffled<From>(a, b, std::make_integer_sequence<int, kLanes>{});
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

FT_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }
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
