#pragma once

#include "tile.h"

namespace farthing::FT_ISA {

constexpr int kKeyChunk = 256;  // keys taken at once: theirs, the values' and the queries' bytes fit into the L2 cache

// What one thread needs beside its tile; see attention_scratch_floats.
struct AttentionScratch {
    float* outputs;  // [rows * group][head_dim], in blocks
    float* largest;  // [rows * group]
    float* sums;     // [rows * group]
};

// Consecutive query rows of one text under one kv head.
struct AttentionCall {
    uint16_t* queries;  // [rows][group][head_dim] bf16, scaled by log2(e) / sqrt(head_dim); the result takes their place
    const int* limits;        // [rows], not descending: row r sees the text's keys before this one
    int rows, group, head_dim;
    const uint16_t *keys, *values;  // of the text and head, see kv.h
    int padded_length;
};

void attend(const AttentionCall& call, const AttentionScratch& scratch);

}  // namespace farthing::FT_ISA
