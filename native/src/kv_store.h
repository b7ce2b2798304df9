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

// Up to 16 tokens of a text, the first at `index`, a multiple of 16, as rows of 32-bit words: word i of a head's key, `width`
// words, goes to [index / 32][i][index % 32].
inline void store_keys_of(const uint32_t (&rows)[kLanes][kMaxHeadDim], int index, int width, uint32_t* keys) {
    uint32_t* const to = keys + static_cast<size_t>(index / kKeyPanel) * kKeyPanel * width + index % kKeyPanel;
    for (int first = 0; first < width; first += kLanes) {
        Words words[kLanes];
#pragma GCC unroll 16
        for (int r = 0; r < kLanes; ++r) words[r] = load<Words>(rows[r] + first);
        swap_rows<1>(words);
        swap_rows<2>(words);
        swap_rows<4>(words);
        swap_rows<8>(words);
        if (width - first >= kLanes) {
#pragma GCC unroll 16
            for (int i = 0; i < kLanes; ++i) store(to + (first + i) * kKeyPanel, words[i]);
        } else {
            for (int i = 0; first + i < width; ++i) store(to + (first + i) * kKeyPanel, words[i]);
        }
    }
}

// A key or query as attention multiplies it.
inline void convert_row(const float* from, int width, uint16_t* to) { store_bf16_row(from, width, to); }
inline void convert_row(const float* from, int width, float* to) { std::memcpy(to, from, width * sizeof *to); }

// Channels `c` .. `c + 16` of a value, or zeros behind its end.
FT_INLINE Floats value_lanes(const float* value, int c, int head_dim) {
    return c < head_dim ? load_floats(value + c) : Floats{};
}

// Values are stored kValueStep tokens at a time: `index`, a multiple of it, and those that follow. A missing one is zero.
template <class Number>
constexpr int kValueStep = sizeof(uint32_t) / sizeof(Number);

inline void store_values_of(const float* const (&rows)[2], int index, int head_dim, int padded, uint16_t* values) {
    for (int c = 0; c < value_width(head_dim); c += kLanes) {
        const size_t start = static_cast<size_t>(c / kPanelChannels) * kPanelChannels * padded + index * kPanelChannels;
        store(reinterpret_cast<uint32_t*>(values + start) + c % kPanelChannels,
              bf16_pairs(value_lanes(rows[0], c, head_dim), value_lanes(rows[1], c, head_dim)));
    }
}
inline void store_values_of(const float* const (&rows)[1], int index, int head_dim, int padded, float* values) {
    for (int c = 0; c < value_width(head_dim); c += kLanes)
        store(values + static_cast<size_t>(c / kPanelChannels) * kPanelChannels * padded + index * kPanelChannels +
                  c % kPanelChannels,
              value_lanes(rows[0], c, head_dim));
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
template <class Number, class Transform>
void store_keys(const float* rows, size_t stride, int head, Range tokens, const Texts& texts, const KvBuffers<Number>& out,
                Transform transform) {
    const int width = out.head_dim / kValueStep<Number>;  // in words
    for_each_text(tokens, texts, [&](int text, Range part) {
        uint32_t* const keys = reinterpret_cast<uint32_t*>(out.text_keys(head, text));
        const Range whole = texts[text];
        const int offset = out.offset(text), end = part.end == whole.end ? out.padded_length(text) : part.end - whole.begin;
        for (int index = part.begin - whole.begin; index < end; index += kLanes) {
            uint32_t converted[kLanes][kMaxHeadDim];
            for (int r = 0; r < kLanes; ++r) {
                const int token = whole.begin + index + r;
                if (token < part.end)
                    convert_row(transform(rows + (token - tokens.begin) * stride, offset + index + r), out.head_dim,
                                reinterpret_cast<Number*>(converted[r]));
                else
                    std::memset(converted[r], 0, width * sizeof(uint32_t));
            }
            store_keys_of(converted, index, width, keys);
        }
    });
}

// Likewise values; tokens begin at a multiple of 2 from their text's beginning, and end so or with it.
template <class Number>
void store_values(const float* rows, size_t stride, int head, Range tokens, const Texts& texts, const KvBuffers<Number>& out) {
    constexpr int kStep = kValueStep<Number>;
    static constexpr float kZeros[kMaxHeadDim] = {};
    for_each_text(tokens, texts, [&](int text, Range part) {
        Number* const values = out.text_values(head, text);
        const Range whole = texts[text];
        const int padded = out.padded_length(text), end = part.end == whole.end ? padded : part.end - whole.begin;
        for (int index = part.begin - whole.begin; index < end; index += kStep) {
            const float* found[kStep];
            for (int i = 0; i < kStep; ++i) {
                const int token = whole.begin + index + i;
                found[i] = token < part.end ? rows + (token - tokens.begin) * stride : kZeros;
            }
            store_values_of(found, index, out.head_dim, padded, values);
        }
    });
}

}  // namespace farthing::FT_ISA
