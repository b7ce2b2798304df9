// Sixteen lanes as one vector, for CPUs whose registers are that wide.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace farthing::FT_ISA {

using Floats __attribute__((vector_size(64))) = float;
using Words __attribute__((vector_size(64))) = uint32_t;
using Ints __attribute__((vector_size(64))) = int32_t;

template <class Vector, class T>
FT_INLINE Vector load(const T* from) {
    Vector value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class Vector, class T>
FT_INLINE void store(T* to, Vector value) {
    std::memcpy(to, &value, sizeof value);
}

template <class Vector>
FT_INLINE Vector select(Ints mask, Vector a, Vector b) {
    return mask ? a : b;
}

// The second one where a lane has a NaN.
FT_INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }
FT_INLINE Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
FT_INLINE Ints larger(Ints a, Ints b) { return a > b ? a : b; }

template <class To, class From>
FT_INLINE To converted(From from) {
    return __builtin_convertvector(from, To);
}

// Each lane its 8 or 16 bits.
template <class Narrow>
FT_INLINE Words widened(const Narrow* from) {
    typedef Narrow Vector __attribute__((vector_size(kLanes * sizeof(Narrow))));
    Vector value;
    std::memcpy(&value, from, sizeof value);
    return __builtin_convertvector(value, Words);
}

template <class Narrow>
FT_INLINE void store_narrowed(Narrow* to, Words x) {
    typedef Narrow Vector __attribute__((vector_size(kLanes * sizeof(Narrow))));
    const Vector value = __builtin_convertvector(x, Vector);
    std::memcpy(to, &value, sizeof value);
}

// The low 16, and the low 8 bits of each lane.
FT_INLINE void store_shorts(uint16_t* to, Words x) { store_narrowed(to, x); }
FT_INLINE void store_bytes(uint8_t* to, Words x) { store_narrowed(to, x); }

template <class From, class Vector, int... kLane>
FT_INLINE Vector shuffled(Vector a, Vector b, std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(a, b, From::of(kLane)...);
}
// Lane i of the result is lane From::of(i) of `a`, or of `b` from kLanes on. GCC 12 and Clang both take this form.
template <class From, class Vector>
FT_INLINE Vector shuffled(Vector a, Vector b) {
    return shuffled<From>(a, b, std::make_integer_sequence<int, kLanes>{});
}

}  // namespace farthing::FT_ISA
