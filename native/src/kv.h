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

struct KvBuffers {
    uint16_t* keys;     // [kv_heads][padded_tokens][head_dim], permuted as above
    uint16_t* values;   // likewise
    int32_t* starts;    // [num_texts + 1], where a text's padded tokens begin
    int64_t padded_tokens;
    int head_dim;

    uint16_t* text_keys(int head, int text) const { return keys + (head * padded_tokens + starts[text]) * head_dim; }
    uint16_t* text_values(int head, int text) const { return values + (head * padded_tokens + starts[text]) * head_dim; }
    int padded_length(int text) const { return starts[text + 1] - starts[text]; }
};

// Upper bound of padded_tokens.
inline int64_t padded_tokens_limit(int64_t num_tokens, int64_t num_texts) {
    return num_tokens + std::min(num_tokens, num_texts) * (kKeyPanel - 1);
}

}  // namespace farthing
