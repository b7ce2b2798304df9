// A rotation of each chunk of 64 inputs: the orthonormal, symmetric Hadamard matrix (Sylvester's), as in QuaRot
// (https://arxiv.org/abs/2404.00456). It spreads channels that dwarf the others, which would coarsen a row's int8 steps; the
// matrix that follows was rotated likewise when it was packed, so that their product is the same.
#pragma once

#include "lanes.h"
#include "packed.h"

namespace farthing::FT_ISA {

// 1 in each lane, or -1 where its number has the bit of kStep; both over kDivisor.
template <int kStep, int kDivisor>
struct Signs {
    alignas(64) float values[kLanes] = {};
    constexpr Signs() {
        for (int lane = 0; lane < kLanes; ++lane) values[lane] = (lane & kStep ? -1.0f : 1.0f) / kDivisor;
    }
};

// x'[i] = x[i ^ step] + x[i], or - x[i] where i has the bit of `step`; both over kDivisor.
template <int kStep, int kDivisor = 1>
FT_INLINE Floats butterfly(Floats x) {
    static constexpr Signs<kStep, kDivisor> kSigns;
    const Floats crossed = kDivisor == 1 ? across<kStep>(x) : across<kStep>(x) * (1.0f / kDivisor);
    return crossed + x * load_floats(kSigns.values);
}

FT_INLINE Floats rotate_lanes(Floats x) {
    return butterfly<8, 8>(butterfly<4>(butterfly<2>(butterfly<1>(x))));
}

// `to` [k] = rotated `from` [k]; k a multiple of 64; they may be the same.
inline void rotate_row(const float* from, int k, float* to) {
    static_assert(kChunkBytes == 4 * kLanes);
    for (int i = 0; i < k; i += kChunkBytes) {
        const Floats a = load_floats(from + i), b = load_floats(from + i + kLanes);
        const Floats c = load_floats(from + i + 2 * kLanes), d = load_floats(from + i + 3 * kLanes);
        const Floats ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
        store(to + i, rotate_lanes(ab + cd));
        store(to + i + kLanes, rotate_lanes(a_b + c_d));
        store(to + i + 2 * kLanes, rotate_lanes(ab - cd));
        store(to + i + 3 * kLanes, rotate_lanes(a_b - c_d));
    }
}

}  // namespace farthing::FT_ISA
