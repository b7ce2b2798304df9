#pragma once

#include <cstdint>

namespace farthing::FT_ISA {

struct HeadTransform {
    const float* gain;         // [head_dim]; NULL: heads are not normed
    const float *cos, *sin;    // NULL: heads are not turned
    float eps;
    int head_dim;
};

// out [head_dim] = RoPE(RMSNorm(head), position) * scale, of which a transform may lack either.
void transform_head(const float* head, int position, float scale, const HeadTransform& transform, float* out);

}  // namespace farthing::FT_ISA
