#pragma once

#include "kv.h"

namespace farthing::FT_ISA {

struct HeadTransform {
    const float* gain;  // [head_dim]
    const float *cos, *sin;
    float eps;
    int head_dim;
};

// out [head_dim] = RoPE(RMSNorm(head), position) * scale.
void norm_rotate(const float* head, int position, float scale, const HeadTransform& transform, float* out);

// out [head_dim] likewise, in bf16.
void store_query(const float* head, int position, float scale, const HeadTransform& transform, uint16_t* out);

// Brings tokens (begin: a multiple of 32 from its text's beginning) of kv heads into `out`. `rows` holds one row a
// token, [kv_heads][head_dim] keys, then as many values.
void store_keys_values(const float* rows, size_t stride, int kv_heads, Range tokens, Range heads, const Texts& texts,
                       const HeadTransform& transform, const KvBuffers& out);

}  // namespace farthing::FT_ISA
