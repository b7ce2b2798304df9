// The MLP's activations on 16 lanes. Those of exact forms are exact to fp32: absolute error below 3e-7, relative to arguments
// above 1.
#pragma once

#include "exp2.h"

namespace farthing::FT_ISA {

template <bool kExact>
FT_INLINE Floats exp2_as(Floats x) {
    return kExact ? exp2_exact(x) : exp2_lanes(x);
}

// x P(x^2) / Q(x^2), absolute error below 3e-7: the coefficients of Eigen's generic_fast_erf_float and XLA's ErfImpl32
// (https://github.com/openxla/xla/blob/main/xla/hlo/builder/lib/math.cc). Arguments beyond +-3.8325, where erf is 1 in fp32,
// are clamped.
FT_INLINE Floats erf_lanes(Floats x) {
    const Floats limit = Floats{} + 3.832506856900711f;
    x = larger(x, -limit);
    x = smaller(x, limit);
    const Floats s = x * x;
    Floats p = s * 0.00022905065861350646f + 0.0034082910107109506f;
    p = p * s + 0.050955695062380861f;
    p = p * s + 0.18520832239976145f;
    p = p * s + 1.128379143519084f;
    Floats q = s * -1.1791602954361697e-7f + 0.000023547966471313185f;
    q = q * s + 0.0010179625278914885f;
    q = q * s + 0.014070470171167667f;
    q = q * s + 0.11098505178285362f;
    q = q * s + 0.49746925110067538f;
    q = q * s + 1.0f;
    return x * p / q;
}

template <bool kExact>
struct Silu {
    FT_INLINE Floats operator()(Floats x) const { return x / (1.0f + exp2_as<kExact>(x * -kLog2E)); }
};

template <bool kExact>
struct Gelu {
    FT_INLINE Floats operator()(Floats x) const {
        const Floats half = x * 0.5f;
        return half + half * erf_lanes(x * 0.70710678f);
    }
};

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <bool kExact>
struct GeluTanh {
    FT_INLINE Floats operator()(Floats x) const {
        const Floats u = x * (x * x * 0.044715f + 1.0f);
        return x / (1.0f + exp2_as<kExact>(u * (-2.0f * 0.7978845608f * kLog2E)));
    }
};

}  // namespace farthing::FT_ISA
