// Keys and values of a batch, in bf16 and in the layout that bf16_block takes as its right-hand side.
//
// A text's tokens begin at a multiple of 32. For each kv head and text: keys as [tokens / 32][head_dim / 2][32][2],
// values as [head_dim / 32][tokens / 2][32][2]. What lies behind a text's last token is zero.
#pragma once

#include <algorithm>

#include "../include/farthing_native.h"
#include "tile.h"

namespace farthing {

constexpr int kKeyPanel = 32;
constexpr int kMaxHeadDim = 128;
constexpr int kKeyChunk = 256;  // keys taken at once: theirs, the values' and the queries' bytes fit into the L2 cache

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
struct KvSpan {
    const uint16_t *keys, *values;
    int padded_length;  // of the text
};

struct KvBuffers {
    uint16_t* keys;     // [kv_heads][padded_tokens][head_dim], permuted as above
    uint16_t* values;   // likewise
    int32_t* starts;    // [num_texts + 1], where a text's padded tokens begin
    int64_t padded_tokens;
    int num_texts, kv_heads, head_dim;
    const ft_prefixes* prefixes;  // NULL, or which texts have ancestors, and which lie in memory of the caller

    uint16_t* text_keys(int head, int text) const {
        if (uint16_t* const block = stored(text)) return block + block_elements(head, padded_length(text));
        return keys + (head * padded_tokens + starts[text]) * head_dim;
    }
    uint16_t* text_values(int head, int text) const {
        if (uint16_t* const block = stored(text)) return block + block_elements(kv_heads + head, padded_length(text));
        return values + (head * padded_tokens + starts[text]) * head_dim;
    }
    int padded_length(int text) const { return starts[text + 1] - starts[text]; }

    // `text` may be an ancestor that is not in the batch: num_texts + k is the k-th that is known.
    KvSpan span(int head, int text) const {
        if (text < num_texts) return {text_keys(head, text), text_values(head, text), padded_length(text)};
        const ft_known& known = prefixes->known[text - num_texts];
        const uint16_t* const block = static_cast<const uint16_t*>(known.kv);
        return {block + block_elements(head, known.padded_tokens), block + block_elements(kv_heads + head, known.padded_tokens),
                known.padded_tokens};
    }
    // The position of its first token; where that is not 0, `parent` has those before it.
    int offset(int text) const { return prefixes && text < num_texts ? prefixes->offsets[text] : 0; }
    int parent(int text) const { return prefixes->parents[text]; }

private:
    uint16_t* stored(int text) const {
        return prefixes && prefixes->stored ? static_cast<uint16_t*>(prefixes->stored[text]) : nullptr;
    }
    int64_t block_elements(int64_t heads, int padded_length) const { return heads * padded_length * head_dim; }
};

// Upper bound of padded_tokens.
inline int64_t padded_tokens_limit(int64_t num_tokens, int64_t num_texts) {
    return num_tokens + std::min(num_tokens, num_texts) * (kKeyPanel - 1);
}

}  // namespace farthing
