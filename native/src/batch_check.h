// What can be checked of a batch before anything is computed.
#pragma once

#include "kv.h"

namespace farthing {

inline bool aligned(const void* pointer) { return pointer && reinterpret_cast<uintptr_t>(pointer) % 64 == 0; }

inline int check_known(const ft_known& known) {
    const bool fits = aligned(known.kv) && known.padded_tokens % kKeyPanel == 0 && known.num_tokens > 0 &&
                      known.num_tokens <= known.padded_tokens;
    return fits ? FT_OK : FT_BAD_ARGUMENT;
}

// Offsets that are where the parent ends rule out circles, since a parent has tokens, and numbers below 0.
inline int check_segment(const ft_batch& batch, const ft_prefixes& prefixes, int text, bool turns_heads) {
    const auto length = [&](int i) { return int64_t{batch.cu_seqlens[i + 1]} - batch.cu_seqlens[i]; };
    const int parent = prefixes.parents[text];
    const int64_t offset = prefixes.offsets[text];
    if (turns_heads && offset + length(text) > batch.rope_positions) return FT_BAD_ARGUMENT;
    if (offset + length(text) > INT32_MAX) return FT_BAD_ARGUMENT;
    if (prefixes.stored && prefixes.stored[text] && (parent != -1 || !aligned(prefixes.stored[text]))) return FT_BAD_ARGUMENT;
    if (parent == -1) return offset == 0 ? FT_OK : FT_BAD_ARGUMENT;
    if (parent < -1 || parent - batch.num_texts >= prefixes.num_known) return FT_BAD_ARGUMENT;
    if (parent >= batch.num_texts)
        return offset == prefixes.known[parent - batch.num_texts].num_tokens ? FT_OK : FT_BAD_ARGUMENT;
    return length(parent) > 0 && offset == prefixes.offsets[parent] + length(parent) ? FT_OK : FT_BAD_ARGUMENT;
}

inline int check_prefixes(const ft_batch& batch, const ft_prefixes& prefixes, bool turns_heads) {
    if (!prefixes.parents || !prefixes.offsets || prefixes.num_known < 0) return FT_BAD_ARGUMENT;
    if (prefixes.num_known > 0 && !prefixes.known) return FT_BAD_ARGUMENT;
    for (int i = 0; i < prefixes.num_known; ++i)
        if (const int error = check_known(prefixes.known[i])) return error;
    for (int text = 0; text < batch.num_texts; ++text)
        if (const int error = check_segment(batch, prefixes, text, turns_heads)) return error;
    return FT_OK;
}

// turns_heads: each position needs a row of the tables.
inline int check_batch(const ft_batch& batch, bool turns_heads) {
    const int max_length = turns_heads ? batch.rope_positions : batch.num_tokens;
    if (batch.num_tokens < 0 || batch.num_texts < 0 || !batch.cu_seqlens) return FT_BAD_ARGUMENT;
    if (batch.cu_seqlens[0] != 0 || batch.cu_seqlens[batch.num_texts] != batch.num_tokens) return FT_BAD_ARGUMENT;
    for (int text = 0; text < batch.num_texts; ++text) {
        const int length = batch.cu_seqlens[text + 1] - batch.cu_seqlens[text];
        if (length < 0 || length > max_length) return FT_BAD_ARGUMENT;
    }
    if (batch.prefixes)
        if (const int error = check_prefixes(batch, *batch.prefixes, turns_heads)) return error;
    if (!batch.keep) return FT_OK;
    if (batch.num_keep < 0) return FT_BAD_ARGUMENT;
    for (int i = 0, before = -1; i < batch.num_keep; before = batch.keep[i++])
        if (batch.keep[i] <= before || batch.keep[i] >= batch.num_tokens) return FT_BAD_ARGUMENT;
    return FT_OK;
}

}  // namespace farthing
