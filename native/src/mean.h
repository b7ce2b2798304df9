#pragma once

#include <cstdint>

#include "threads.h"

namespace farthing {

// means [num_texts, width] of rows [tokens, width]; every text has rows.
void mean_rows(ThreadPool& pool, const float* rows, int width, const int32_t* cu_seqlens, int num_texts, float* means);

}  // namespace farthing
