#pragma once

#include <cstdint>

namespace farthing::FT_ISA {

struct HeadTransform {
    const float* gain;  // [head_dim]
    const float *cos, *sin;
    float eps;
    int head_dim;
};

// out [head_dim] = RoPE(RMSNorm(head), position) * scale.
void norm_rotate(const float* head, int position, float scale, const HeadTransform& transform, float* out);

}  // namespace farthing::FT_ISA
