// Widths of a layer.
#pragma once

#include "../include/farthing_native.h"
#include "kv.h"

namespace farthing {

struct LayerShape {
    int hidden, intermediate, q_heads, kv_heads, head_dim;
    bool norms_sums, norms_added;

    explicit LayerShape(const ft_layer_spec& spec)
        : hidden(spec.hidden), intermediate(spec.intermediate), q_heads(spec.q_heads), kv_heads(spec.kv_heads),
          head_dim(spec.head_dim), norms_sums(spec.norms_sums), norms_added(spec.norms_added) {}

    int q_width() const { return q_heads * head_dim; }
    int kv_width() const { return kv_heads * head_dim; }
    int group() const { return q_heads / kv_heads; }
    // Heads that are projected at once: so many that they are whole panels.
    int heads_at_once() const { return head_dim % kPanelChannels ? 2 : 1; }
};

}  // namespace farthing
