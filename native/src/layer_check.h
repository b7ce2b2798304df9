// What can be checked of a layer's spec and weights before anything is computed.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "batch_check.h"
#include "layer_shape.h"

namespace farthing {

constexpr int kWidthStep = 16, kRotatedInputs = 64;

inline bool form_fits(int form) { return form >= FT_INT8 && form <= FT_FP16; }
inline bool dtype_fits(int dtype) { return dtype >= FT_FLOAT32 && dtype <= FT_FLOAT16; }

template <class Pointer>
bool any_null(std::initializer_list<Pointer> pointers) {
    return std::find(pointers.begin(), pointers.end(), nullptr) != pointers.end();
}

inline bool all_aligned(std::initializer_list<const void*> pointers) {
    return std::all_of(pointers.begin(), pointers.end(), aligned);
}

inline bool width_fits(int width) { return width > 0 && width <= kMaxInputs && width % kWidthStep == 0; }

inline bool spec_fits(const ft_layer_spec& spec) {
    const bool heads_fit = spec.kv_heads > 0 && spec.q_heads > 0 && spec.q_heads % spec.kv_heads == 0 &&
                           width_fits(spec.head_dim) && spec.head_dim <= kMaxHeadDim &&
                           spec.q_heads <= kMaxInputs / spec.head_dim;
    if (!heads_fit || !width_fits(spec.hidden) || !width_fits(spec.intermediate)) return false;
    const auto rotates = [&](int is_so, int width) { return !is_so || (spec.form == FT_INT8 && width % kRotatedInputs == 0); };
    return form_fits(spec.form) && rotates(spec.rotates_hidden, spec.hidden) &&
           rotates(spec.rotates_attended, spec.q_heads * spec.head_dim) && rotates(spec.rotates_inner, spec.intermediate) &&
           !(spec.norms_sums && spec.norms_added) && spec.window >= 0 &&
           (spec.norm == FT_RMS_NORM || spec.norm == FT_LAYER_NORM) && spec.activation >= FT_GELU && spec.activation <= FT_SILU;
}

inline bool norm_fits(const ft_norm& norm) {
    return norm.gain && (norm.kind == FT_RMS_NORM || norm.kind == FT_LAYER_NORM);
}

inline bool weights_fit(const ft_layer_spec& spec, const ft_layer_weights& w) {
    const auto fits = [&](const float* gain, const float* bias) { return norm_fits({spec.norm, spec.norm_eps, gain, bias}); };
    const bool enters_as_it_is = !w.attention_norm_gain && !spec.norms_sums;
    return all_aligned({w.qkv, w.o, w.up, w.down}) &&
           (enters_as_it_is || fits(w.attention_norm_gain, w.attention_norm_bias)) && fits(w.mlp_norm_gain, w.mlp_norm_bias) &&
           (!spec.norms_added || (fits(w.attention_added_gain, w.attention_added_bias) && fits(w.mlp_added_gain, w.mlp_added_bias))) &&
           (!spec.norms_heads || !any_null({w.q_norm, w.k_norm}));
}

// What is added by distance must be there for any two tokens of a text.
inline int check_reach(const ft_batch& batch) {
    if (batch.prefixes || batch.bias_reach > (INT32_MAX - kKeyPanel) / 2) return FT_BAD_ARGUMENT;
    for (int text = 0; text < batch.num_texts; ++text)
        if (batch.cu_seqlens[text + 1] - batch.cu_seqlens[text] > batch.bias_reach) return FT_BAD_ARGUMENT;
    return FT_OK;
}

inline int check_layer(const ft_layer_spec& spec, const ft_layer_weights& weights, const ft_batch& batch) {
    if (!spec_fits(spec)) return FT_BAD_SHAPE;
    if (!weights_fit(spec, weights)) return FT_BAD_ARGUMENT;
    if ((spec.turns_heads && (!batch.cos || !batch.sin)) || (!spec.is_causal && batch.prefixes)) return FT_BAD_ARGUMENT;
    if (const int error = check_batch(batch, spec.turns_heads)) return error;
    return batch.distance_bias ? check_reach(batch) : FT_OK;
}

}  // namespace farthing
