// Per-head RMSNorm and RoPE in one pass over a head, straight into the layout that attention reads.
#include "rope.h"

#include <cstring>

#include "bf16.h"
#include "lanes.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kMaxHeadDim = 128;

// Token `index` of a text: pair i of the head goes to [index / 32][i][index % 32].
void store_key(const float* head, int index, int head_dim, uint16_t* keys) {
    uint32_t* const to = reinterpret_cast<uint32_t*>(keys + static_cast<size_t>(index / kKeyPanel) * kKeyPanel * head_dim);
    uint16_t values[kMaxHeadDim];
    for (int i = 0; i < head_dim; i += 2 * kLanes) store_bf16(values + i, load_floats(head + i), load_floats(head + i + kLanes));
    uint32_t pairs[kMaxHeadDim / 2];
    std::memcpy(pairs, values, sizeof pairs);
    for (int i = 0; i < head_dim / 2; ++i) to[i * kKeyPanel + index % kKeyPanel] = pairs[i];
}

// Tokens `index` (even) and the next; a missing next one is zero.
void store_value_pair(const float* first, const float* second, int index, int head_dim, int padded, uint16_t* values) {
    for (int panel = 0; panel < head_dim / kPanelChannels; ++panel) {
        const size_t start = static_cast<size_t>(panel) * kPanelChannels * padded + index * kPanelChannels;
        uint32_t* const to = reinterpret_cast<uint32_t*>(values + start);
        const float *even = first + panel * kPanelChannels, *odd = second + panel * kPanelChannels;
        for (int c = 0; c < kPanelChannels; c += kLanes)
            store(to + c, bf16_pairs(load_floats(even + c), load_floats(odd + c)));
    }
}

void pad_text(int length, int padded, int head_dim, uint16_t* keys, uint16_t* values) {
    const float zeros[kMaxHeadDim] = {};
    for (int index = length; index < padded; ++index) store_key(zeros, index, head_dim, keys);
    for (int index = length + length % 2; index < padded; index += 2)
        store_value_pair(zeros, zeros, index, head_dim, padded, values);
}

}  // namespace

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

void store_query(const float* head, int position, float scale, const HeadTransform& transform, uint16_t* out) {
    float turned[kMaxHeadDim];
    norm_rotate(head, position, scale, transform, turned);
    for (int i = 0; i < transform.head_dim; i += 2 * kLanes)
        store_bf16(out + i, load_floats(turned + i), load_floats(turned + i + kLanes));
}

void store_keys_values(const float* rows, size_t stride, int kv_heads, Range tokens, Range heads, const Texts& texts,
                       const HeadTransform& transform, const KvBuffers& out) {
    const int head_dim = transform.head_dim;
    const float zeros[kMaxHeadDim] = {};
    float turned[kMaxHeadDim];
    for (int begin = tokens.begin; begin < tokens.end;) {
        const int text = texts.of(begin);
        const Range whole = texts[text];
        const int end = std::min(tokens.end, whole.end), padded = out.padded_length(text);
        for (int head = heads.begin; head < heads.end; ++head) {
            uint16_t *const keys = out.text_keys(head, text), *const values = out.text_values(head, text);
            for (int token = begin; token < end; ++token) {
                const float* const key = rows + (token - tokens.begin) * stride + head * head_dim;
                const int index = token - whole.begin;
                norm_rotate(key, index, 1.0f, transform, turned);
                store_key(turned, index, head_dim, keys);
                const float* const value = key + kv_heads * head_dim;
                if (index % 2 == 0)
                    store_value_pair(value, token + 1 < end ? value + stride : zeros, index, head_dim, padded, values);
            }
            if (end == whole.end) pad_text(whole.size(), padded, head_dim, keys, values);
        }
        begin = end;
    }
}

}  // namespace farthing::FT_ISA
