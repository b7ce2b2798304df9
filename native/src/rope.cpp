// Per-head RMSNorm and RoPE in one pass over a head.
#include "rope.h"

#include "lanes.h"

namespace farthing::FT_ISA {

void norm_rotate(const float* head, int position, float scale, const HeadTransform& transform, float* out) {
    const int half = transform.head_dim / 2;
    const float factor = inverse_rms(head, transform.head_dim, transform.eps) * scale;
    const float* const gain = transform.gain;
    const float* const cos = transform.cos + static_cast<size_t>(position) * half;
    const float* const sin = transform.sin + static_cast<size_t>(position) * half;
    for (int i = 0; i < half; i += kLanes) {
        const Floats x = load_floats(head + i) * factor * load_floats(gain + i);
        const Floats y = load_floats(head + i + half) * factor * load_floats(gain + i + half);
        const Floats c = load_floats(cos + i), s = load_floats(sin + i);
        store(out + i, x * c - y * s);
        store(out + i + half, y * c + x * s);
    }
}

}  // namespace farthing::FT_ISA
