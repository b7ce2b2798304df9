#pragma once

#include "kv.h"

namespace farthing::FT_ISA {

// What one thread needs beside its tile; see attention_scratch_floats.
struct AttentionScratch {
    float* outputs;  // [rows * group][head_dim], in blocks
    float* largest;  // [rows * group]
    float* sums;     // [rows * group]
    uint16_t* gathered;  // [2][kKeyChunk][head_dim], see KeyGatherer
};

// Consecutive query rows of one text under one kv head.
struct AttentionCall {
    uint16_t* queries;  // [rows][group][head_dim] bf16, scaled by log2(e) / sqrt(head_dim); the result takes their place
    const int* limits;  // [rows], not descending: row r sees the keys before this position
    int rows, group, head_dim;
    const KvBuffers& kv;
    int head, text;
};

void attend(const AttentionCall& call, const AttentionScratch& scratch);

}  // namespace farthing::FT_ISA
