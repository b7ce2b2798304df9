// Keys and values of a batch, in the layout that products take as their right-hand side: of bf16 (uint16_t) for bf16_block, of
// fp32 (float) for float_block.
//
// A text's tokens begin at a multiple of 32. For each kv head and text: keys as [tokens / 32][head_dim / 2][32][2] bf16 or
// [tokens / 32][head_dim][32] fp32; values as [value_width / 32][tokens / 2][32][2] bf16 or [value_width / 32][tokens][32]
// fp32, value_width being head_dim rounded up to 32. What lies behind a text's last token is zero.
#pragma once

#include <algorithm>

#include "../include/farthing_native.h"
#include "tile.h"

namespace farthing {

constexpr int kKeyPanel = 32;
constexpr int kMaxHeadDim = 256;
constexpr int kKeyChunk = 256;  // keys taken at once: theirs, the values' and the queries' bytes fit into the L2 cache

constexpr int value_width(int head_dim) { return static_cast<int>(round_up(head_dim, kPanelChannels)); }

// Where texts begin and end among the tokens.
class Texts {
public:
    explicit Texts(const ft_batch& batch) : starts_(batch.cu_seqlens), count_(batch.num_texts) {}
    int count() const { return count_; }
    Range operator[](int text) const { return {starts_[text], starts_[text + 1]}; }
    int of(int token) const { return static_cast<int>(std::upper_bound(starts_, starts_ + count_, token) - starts_) - 1; }

private:
    const int32_t* starts_;
    int count_;
};

// Keys and values of one text, or from one of its panels on, under one kv head.
template <class Number>
struct KvSpan {
    const Number *keys, *values;
    int padded_length;  // of the text
};

template <class Number>
struct KvBuffers {
    Number* keys;       // [kv_heads][padded_tokens][head_dim], permuted as above
    Number* values;     // [kv_heads][padded_tokens][value_width], likewise
    int32_t* starts;    // [num_texts + 1], where a text's padded tokens begin
    int64_t padded_tokens;
    int num_texts, kv_heads, head_dim, value_width;
    const ft_prefixes* prefixes;  // NULL, or which texts have ancestors, and which lie in memory of the caller

    Number* text_keys(int head, int text) const {
        if (Number* const block = stored(text)) return block + head * key_elements(padded_length(text));
        return keys + (head * padded_tokens + starts[text]) * head_dim;
    }
    Number* text_values(int head, int text) const {
        if (Number* const block = stored(text)) return block_values(block, head, padded_length(text));
        return values + (head * padded_tokens + starts[text]) * value_width;
    }
    int padded_length(int text) const { return starts[text + 1] - starts[text]; }

    // `text` may be an ancestor that is not in the batch: num_texts + k is the k-th that is known.
    KvSpan<Number> span(int head, int text) const {
        if (text < num_texts) return {text_keys(head, text), text_values(head, text), padded_length(text)};
        const ft_known& known = prefixes->known[text - num_texts];
        const Number* const block = static_cast<const Number*>(known.kv);
        return {block + head * key_elements(known.padded_tokens), block_values(block, head, known.padded_tokens),
                known.padded_tokens};
    }
    // The position of its first token; where that is not 0, `parent` has those before it.
    int offset(int text) const { return prefixes && text < num_texts ? prefixes->offsets[text] : 0; }
    int parent(int text) const { return prefixes->parents[text]; }

private:
    Number* stored(int text) const {
        return prefixes && prefixes->stored ? static_cast<Number*>(prefixes->stored[text]) : nullptr;
    }
    int64_t key_elements(int64_t padded_length) const { return padded_length * head_dim; }
    template <class Element>
    Element* block_values(Element* block, int64_t head, int64_t padded_length) const {
        return block + kv_heads * key_elements(padded_length) + head * padded_length * value_width;
    }
};

// Upper bound of padded_tokens.
inline int64_t padded_tokens_limit(int64_t num_tokens, int64_t num_texts) {
    return num_tokens + std::min(num_tokens, num_texts) * (kKeyPanel - 1);
}

}  // namespace farthing
