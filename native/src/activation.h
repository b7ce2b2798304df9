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

#if defined(__ARM_FEATURE_DOTPROD)
// From memory, and the compiler does not know which: of numbers that it knows it would give each a register of its own.
FT_INLINE float32x4_t four_lanes(const float (&numbers)[4]) {
    float32x4_t lanes = vld1q_f32(numbers);
    __asm__("" : "+w"(lanes));
    return lanes;
}

// The same erf of x / sqrt(2), with coefficients for x and of half of it. By powers of x^2, since NEON's multiply-add overwrites
// what it adds to: each step of Horner's scheme would copy its coefficient first. All terms but one, which is small, are positive,
// so this is as exact. Coefficients are lanes, which take three registers.
template <bool kExact>
struct Gelu {
    FT_INLINE Floats operator()(Floats x) const {
        constexpr float kRootHalf = 0.7071067811865476f;
        static constexpr float kP[] = {0.18520832239976145f * kRootHalf / 4, 0.050955695062380861f * kRootHalf / 8,
                                       0.0034082910107109506f * kRootHalf / 16, 0.00022905065863150646f * kRootHalf / 32};
        static constexpr float kQ[] = {0.49746925110067538f / 2, 0.11098505178285362f / 4, 0.014070470171167667f / 8,
                                       0.0010179625278914885f / 16};
        static constexpr float kRest[] = {1.128379143519084f * kRootHalf / 2, 0.000023547966471313185f / 32,
                                          -1.1791602954361697e-7f / 64, 3.832506856900711f / kRootHalf};
        const float32x4_t p = four_lanes(kP), q = four_lanes(kQ), rest = four_lanes(kRest);
        const float32x4_t limit = vdupq_laneq_f32(rest, 3), least = -limit;
        return Floats::of_parts([&](int i) FT_INLINED {
            const float32x4_t y = (float32x4_t)x.part[i], z = vminnmq_f32(vmaxnmq_f32(y, least), limit);
            const float32x4_t s = z * z, s2 = s * s, s3 = s2 * s, s4 = s2 * s2;
            float32x4_t above = vdupq_laneq_f32(rest, 0), below = vdupq_n_f32(1.0f), highest = vdupq_laneq_f32(q, 3);
            above = vfmaq_laneq_f32(above, s, p, 0), below = vfmaq_laneq_f32(below, s, q, 0);
            above = vfmaq_laneq_f32(above, s2, p, 1), below = vfmaq_laneq_f32(below, s2, q, 1);
            above = vfmaq_laneq_f32(above, s3, p, 2), below = vfmaq_laneq_f32(below, s3, q, 2);
            highest = vfmaq_laneq_f32(highest, s, rest, 1), highest = vfmaq_laneq_f32(highest, s2, rest, 2);
            above = vfmaq_laneq_f32(above, s4, p, 3), below = vfmaq_f32(below, s4, highest);
            return (Floats::Part)vfmaq_f32(y * 0.5f, y, z * above / below);
        });
    }
};
#else
template <bool kExact>
struct Gelu {
    FT_INLINE Floats operator()(Floats x) const {
        const Floats half = x * 0.5f;
        return half + half * erf_lanes(x * 0.70710678f);
    }
};
#endif

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <bool kExact>
struct GeluTanh {
    FT_INLINE Floats operator()(Floats x) const {
        const Floats u = x * (x * x * 0.044715f + 1.0f);
        return x / (1.0f + exp2_as<kExact>(u * (-2.0f * 0.7978845608f * kLog2E)));
    }
};

}  // namespace farthing::FT_ISA
