#pragma once

#include "tile.h"

namespace farthing::FT_ISA {

void quantize_rows(const float* x, size_t stride, int num_rows, int k, QuantizedTile& out);
// With one scale for each kGroupInputs values of a row, for rows in which a few values dwarf the others: group `group` of
// all rows of `out`, which has its shape already. `x` is rotated (rotate.h) in place before.
void rotate_quantize_group(float* x, size_t stride, int group, QuantizedTile& out);
// Each chunk of 64 inputs rotated first (rotate.h); rows are found through `rows`, indices into x.
void rotate_quantize_rows(const float* x, size_t stride, const int* rows, int num_rows, int k, float* row_buffer,
                          QuantizedTile& out);
// Rows of bf16 whose parts lie apart: part h of row r at values + h * part_stride + r * width.
struct HeadRows {
    const uint16_t* values;
    int parts, width;
    size_t part_stride;
};
void quantize_head_rows(const HeadRows& x, int num_rows, bool rotated, float* row_buffer, QuantizedTile& out);
// Rows are found through `rows`, indices into x.
void norm_quantize_rows(const float* x, const int* rows, int num_rows, int k, const float* gain, float eps,
                        float* row_buffer, QuantizedTile& out);

}  // namespace farthing::FT_ISA
