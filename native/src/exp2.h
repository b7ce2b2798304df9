// exp2 on 16 lanes as straight arithmetic: a polynomial on [-1/2, 1/2] and the exponent's bits.
#pragma once

#include "lanes.h"

namespace farthing::FT_ISA {

constexpr float kLog2E = 1.44269504088896341f;

// Relative error below 3e-6. Arguments beyond [-126, 126] are clamped.
FT_INLINE Floats exp2_lanes(Floats x) {
    const Floats limit = Floats{} + 126.0f;
    x = larger(x, -limit);
    x = smaller(x, limit);
    const Floats shifted = x + kRoundingMagic;
    const Floats f = x - (shifted - kRoundingMagic);
    Floats p = f * 1.3333558e-3f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    return p * (Floats)(((Words)shifted + 127u) << 23);
}

// Relative error below 2e-7: the coefficients of Cephes' exp2f (https://www.netlib.org/cephes/). Arguments beyond [-126, 126]
// are clamped; NaN stays NaN.
FT_INLINE Floats exp2_exact(Floats x) {
    const Floats limit = Floats{} + 126.0f;
    x = select(x < -limit, -limit, x);
    x = select(x > limit, limit, x);
    const Floats shifted = x + kRoundingMagic;
    const Floats f = x - (shifted - kRoundingMagic);
    Floats p = f * 1.535336188319500e-4f + 1.339887440266574e-3f;
    p = p * f + 9.618437357674640e-3f;
    p = p * f + 5.550332471162809e-2f;
    p = p * f + 2.402264791363012e-1f;
    p = p * f + 6.931472028550421e-1f;
    p = p * f + 1.0f;
    return p * (Floats)(((Words)shifted + 127u) << 23);
}

// For x <= 0 and results that are kept in bf16: relative error below 1.1e-4 in less than half of the work. Arguments below
// -126 are clamped.
FT_INLINE Floats exp2_bf16(Floats x) {
    x = larger(x, Floats{} - 126.0f);
    const Floats shifted = x + kRoundingMagic;
    const Floats f = x - (shifted - kRoundingMagic);
    Floats p = f * 0.055171667f + 0.24261112f;
    p = p * f + 0.69326099f;
    p = p * f + 0.99992807f;
    return (Floats)((Words)p + ((Words)shifted << 23));
}

inline float exp2_fast(float x) { return exp2_lanes(Floats{} + x)[0]; }

}  // namespace farthing::FT_ISA
