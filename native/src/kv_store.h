// Keys, values and queries from float rows into the layout that attention reads (kv.h).
#pragma once

#include <cstring>

#include "bf16.h"
#include "kv.h"
#include "lanes.h"

namespace farthing::FT_ISA {

constexpr int kMaxHeadDim = 128;

inline void store_bf16_row(const float* from, int width, uint16_t* to) {
    for (int i = 0; i < width; i += 2 * kLanes) store_bf16(to + i, load_floats(from + i), load_floats(from + i + kLanes));
}

// Token `index` of a text: pair i of the head goes to [index / 32][i][index % 32].
inline void store_key(const float* head, int index, int head_dim, uint16_t* keys) {
    uint32_t* const to = reinterpret_cast<uint32_t*>(keys + static_cast<size_t>(index / kKeyPanel) * kKeyPanel * head_dim);
    uint16_t values[kMaxHeadDim];
    store_bf16_row(head, head_dim, values);
    uint32_t pairs[kMaxHeadDim / 2];
    std::memcpy(pairs, values, sizeof pairs);
    for (int i = 0; i < head_dim / 2; ++i) to[i * kKeyPanel + index % kKeyPanel] = pairs[i];
}

// Tokens `index` (even) and the next; a missing next one is zero.
inline void store_value_pair(const float* first, const float* second, int index, int head_dim, int padded,
                             uint16_t* values) {
    for (int panel = 0; panel < head_dim / kPanelChannels; ++panel) {
        const size_t start = static_cast<size_t>(panel) * kPanelChannels * padded + index * kPanelChannels;
        uint32_t* const to = reinterpret_cast<uint32_t*>(values + start);
        const float *even = first + panel * kPanelChannels, *odd = second + panel * kPanelChannels;
        for (int c = 0; c < kPanelChannels; c += kLanes)
            store(to + c, bf16_pairs(load_floats(even + c), load_floats(odd + c)));
    }
}

inline void pad_text(int length, int padded, int head_dim, uint16_t* keys, uint16_t* values) {
    const float zeros[kMaxHeadDim] = {};
    for (int index = length; index < padded; ++index) store_key(zeros, index, head_dim, keys);
    for (int index = length + length % 2; index < padded; index += 2)
        store_value_pair(zeros, zeros, index, head_dim, padded, values);
}

// Brings tokens (begin: a multiple of 32 from its text's beginning) of kv heads into `out`. `rows` holds one row a
// token, [kv_heads][head_dim] keys, then as many values. transform(key, index in the text) -> the key to be stored.
template <class Transform>
void store_keys_values(const float* rows, size_t stride, int kv_heads, Range tokens, Range heads, const Texts& texts,
                       const KvBuffers& out, Transform transform) {
    const int head_dim = out.head_dim;
    const float zeros[kMaxHeadDim] = {};
    for (int begin = tokens.begin; begin < tokens.end;) {
        const int text = texts.of(begin);
        const Range whole = texts[text];
        const int end = std::min(tokens.end, whole.end), padded = out.padded_length(text);
        for (int head = heads.begin; head < heads.end; ++head) {
            uint16_t *const keys = out.text_keys(head, text), *const values = out.text_values(head, text);
            for (int token = begin; token < end; ++token) {
                const float* const key = rows + (token - tokens.begin) * stride + head * head_dim;
                const int index = token - whole.begin;
                store_key(transform(key, index), index, head_dim, keys);
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
