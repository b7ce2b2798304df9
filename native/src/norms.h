// RMSNorm (https://arxiv.org/abs/1910.07467) and LayerNorm (https://arxiv.org/abs/1607.06450) of a row.
#pragma once

#include "../include/farthing_native.h"
#include "lanes.h"

namespace farthing::FT_ISA {

// out [k] = x [k] over its root mean square, times gain; k a multiple of 16; they may be the same.
inline void rms_norm_row(const float* x, int k, const ft_norm& norm, float* out) {
    const float inverse = inverse_rms(x, k, norm.eps);
    for (int i = 0; i < k; i += kLanes) store(out + i, load_floats(x + i) * inverse * load_floats(norm.gain + i));
}

// out [k] = x [k] with mean 0 and variance 1, times gain, plus bias if there is one; k a multiple of 16; they may be the same.
inline void layer_norm_row(const float* x, int k, const ft_norm& norm, float* out) {
    Floats sums = {}, squares = {};
    for (int i = 0; i < k; i += kLanes) sums += load_floats(x + i);
    const float mean = sum_of(sums) / static_cast<float>(k);
    for (int i = 0; i < k; i += kLanes) {
        const Floats distance = load_floats(x + i) - mean;
        squares += distance * distance;
    }
    const float inverse = 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(k) + norm.eps);
    const auto scaled = [&](int i) FT_INLINED { return (load_floats(x + i) - mean) * inverse * load_floats(norm.gain + i); };
    if (norm.bias)
        for (int i = 0; i < k; i += kLanes) store(out + i, scaled(i) + load_floats(norm.bias + i));
    else
        for (int i = 0; i < k; i += kLanes) store(out + i, scaled(i));
}

inline void norm_row(const float* x, int k, const ft_norm& norm, float* out) {
    if (norm.kind == FT_LAYER_NORM)
        layer_norm_row(x, k, norm, out);
    else
        rms_norm_row(x, k, norm, out);
}

}  // namespace farthing::FT_ISA
