// Per-head RMSNorm and RoPE in one pass over a head.
#include "rope.h"

#include "lanes.h"

namespace farthing::FT_ISA {
namespace {

// `count` (at most 16) of a head's pairs of numbers, of which the first half lies at x and the second at y.
template <bool kNorms, bool kTurns, class Load, class Store>
FT_INLINE void transform_lanes(const float* head, int i, int half, float factor, const HeadTransform& transform,
                               size_t table, Load load, Store keep, float* out) {
    Floats x = load(head + i) * factor, y = load(head + i + half) * factor;
    if constexpr (kNorms) {
        x = x * load(transform.gain + i);
        y = y * load(transform.gain + i + half);
    }
    if constexpr (kTurns) {
        const Floats c = load(transform.cos + table + i), s = load(transform.sin + table + i);
        keep(out + i, x * c - y * s);
        keep(out + i + half, y * c + x * s);
    } else {
        keep(out + i, x);
        keep(out + i + half, y);
    }
}

template <bool kNorms, bool kTurns>
void transform_with(const float* head, int position, float scale, const HeadTransform& transform, float* out) {
    const int half = transform.head_dim / 2;
    const float factor = kNorms ? inverse_rms(head, transform.head_dim, transform.eps) * scale : scale;
    const size_t table = static_cast<size_t>(position) * half;
    int i = 0;
    for (; i + kLanes <= half; i += kLanes)
        transform_lanes<kNorms, kTurns>(
            head, i, half, factor, transform, table, [](const float* from) { return load_floats(from); },
            [](float* to, Floats value) { store(to, value); }, out);
    if (i == half) return;
    constexpr int kRest = kLanes / 2;  // half of a head is a multiple of 8
    const auto load_rest = [](const float* from) {
        Floats value = {};
        std::memcpy(&value, from, kRest * sizeof *from);
        return value;
    };
    const auto store_rest = [](float* to, Floats value) { std::memcpy(to, &value, kRest * sizeof *to); };
    transform_lanes<kNorms, kTurns>(head, i, half, factor, transform, table, load_rest, store_rest, out);
}

}  // namespace

void transform_head(const float* head, int position, float scale, const HeadTransform& transform, float* out) {
    const auto with = transform.gain ? (transform.cos ? transform_with<true, true> : transform_with<true, false>)
                                     : (transform.cos ? transform_with<false, true> : transform_with<false, false>);
    with(head, position, scale, transform, out);
}

}  // namespace farthing::FT_ISA
