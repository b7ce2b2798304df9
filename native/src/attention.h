#pragma once

#include "kv.h"

namespace farthing::FT_ISA {

// What one thread needs beside its tile.
struct AttentionScratch {
    float* outputs;  // [rows * group][value_width], in blocks
    float* largest;  // [rows * group]
    float* sums;     // [rows * group]
    void* gathered;  // see KeyGatherer
};

// Consecutive query rows of one text under one kv head. Number: what is multiplied, uint16_t for bf16, or float.
template <class Number>
struct AttentionCall {
    Number* queries;  // [rows][group][head_dim], scaled by log2(e) / sqrt(head_dim); the result takes their place
    const int* limits;  // [rows], not descending: row r sees the keys before this position
    int rows, group, head_dim;
    const KvBuffers<Number>& kv;
    int head, text;
    const int* firsts;     // [rows], not descending: the first key that a row sees; NULL where all see the first
    const float* biases;   // [group][bias_stride], times log2(e): what a key gets by its position; NULL for none
    const int* bias_begins;  // [rows], the place in `biases` that is of position 0
    int bias_stride;
};

template <class Number>
void attend(const AttentionCall<Number>& call, const AttentionScratch& scratch);

}  // namespace farthing::FT_ISA
