// Keys, values and queries from float rows into the layout that attention reads (kv.h).
#pragma once

#include <cstring>

#include "bf16.h"
#include "kv.h"
#include "lanes.h"

namespace farthing::FT_ISA {

// Swaps the elements of `a` whose lane has the bit kStep with those of `b` that lie kStep lanes before.
template <int kStep>
struct Lower {
    static constexpr int of(int lane) { return lane & kStep ? lane + kLanes - kStep : lane; }
};
template <int kStep>
struct Upper {
    static constexpr int of(int lane) { return lane & kStep ? lane + kLanes : lane + kStep; }
};
template <int kStep>
FT_INLINE void swap_lanes(Words& a, Words& b) {
    const Words first = shuffled<Lower<kStep>>(a, b);
    b = shuffled<Upper<kStep>>(a, b);
    a = first;
}

template <int kStep>
FT_INLINE void swap_rows(Words (&rows)[kLanes]) {
#pragma GCC unroll 16
    for (int r = 0; r < kLanes; ++r)
        if (!(r & kStep)) swap_lanes<kStep>(rows[r], rows[r + kStep]);
}

// Up to 16 tokens of a text, the first at `index`, a multiple of 16, as bf16 rows: pair i of a head's key goes to
// [index / 32][i][index % 32].
inline void store_keys_of(const uint16_t (&rows)[kLanes][kMaxHeadDim], int index, int head_dim, uint16_t* keys) {
    uint32_t* const to = reinterpret_cast<uint32_t*>(keys) + static_cast<size_t>(index / kKeyPanel) * kKeyPanel * head_dim / 2 +
                         index % kKeyPanel;
    for (int first = 0; first < head_dim / 2; first += kLanes) {
        Words pairs[kLanes];
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r) pairs[r] = load<Words>(rows[r] + 2 * first);
        swap_rows<1>(pairs);
        swap_rows<2>(pairs);
        swap_rows<4>(pairs);
        swap_rows<8>(pairs);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(to + (first + i) * kKeyPanel, pairs[i]);
    }
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

// Calls use(text, its part of `tokens`) for each text that has one.
template <class Use>
void for_each_text(Range tokens, const Texts& texts, Use use) {
    for (int begin = tokens.begin; begin < tokens.end;) {
        const int text = texts.of(begin), end = std::min(tokens.end, texts[text].end);
        use(text, Range{begin, end});
        begin = end;
    }
}

// Brings the keys of one kv head into `out`, from a row [head_dim] a token; tokens begin at a multiple of 32 from their
// text's beginning, and end so or with it. transform(key, its position) -> the key to be stored.
template <class Transform>
void store_keys(const float* rows, size_t stride, int head, Range tokens, const Texts& texts, const KvBuffers& out,
                Transform transform) {
    for_each_text(tokens, texts, [&](int text, Range part) {
        uint16_t* const keys = out.text_keys(head, text);
        const Range whole = texts[text];
        const int offset = out.offset(text), end = part.end == whole.end ? out.padded_length(text) : part.end - whole.begin;
        for (int index = part.begin - whole.begin; index < end; index += kLanes) {
            uint16_t converted[kLanes][kMaxHeadDim];
            for (int r = 0; r < kLanes; ++r) {
                const int token = whole.begin + index + r;
                if (token < part.end)
                    store_bf16_row(transform(rows + (token - tokens.begin) * stride, offset + index + r), out.head_dim,
                                   converted[r]);
                else
                    std::memset(converted[r], 0, out.head_dim * sizeof(uint16_t));
            }
            store_keys_of(converted, index, out.head_dim, keys);
        }
    });
}

// Likewise values; tokens begin at a multiple of 2 from their text's beginning, and end so or with it.
inline void store_values(const float* rows, size_t stride, int head, Range tokens, const Texts& texts,
                         const KvBuffers& out) {
    const float zeros[kMaxHeadDim] = {};
    for_each_text(tokens, texts, [&](int text, Range part) {
        uint16_t* const values = out.text_values(head, text);
        const Range whole = texts[text];
        const int padded = out.padded_length(text);
        for (int token = part.begin; token < part.end; token += 2) {
            const float* const value = rows + (token - tokens.begin) * stride;
            store_value_pair(value, token + 1 < part.end ? value + stride : zeros, token - whole.begin, out.head_dim, padded,
                             values);
        }
        if (part.end == whole.end)
            for (int index = whole.size() + whole.size() % 2; index < padded; index += 2)
                store_value_pair(zeros, zeros, index, out.head_dim, padded, values);
    });
}

}  // namespace farthing::FT_ISA
