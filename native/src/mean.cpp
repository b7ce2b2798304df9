// The mean of each text's rows, as mean pooling wants it.
//
// Rows are added as torch adds them along an outer dimension (SumKernel.cpp, cascade sum), so that the two give the same
// bits: at most 2^power rows make a sum, as many sums the next one, and so on.
#include "mean.h"

#include <algorithm>
#include <cstddef>

namespace farthing {
namespace {

constexpr int kLevels = 4, kLeastPower = 4;
constexpr int kColumns = 64;  // of a text that are added at once: their sums stay in the L1 cache

int ceil_log2(int count) {
    int power = 0;
    while ((int64_t{1} << power) < count) ++power;
    return power;
}

// The means of `width` (at most kColumns) columns of `count` rows that are `stride` apart.
void mean_columns(const float* row, size_t stride, int width, int count, float* mean) {
    float levels[kLevels][kColumns] = {};
    const auto add = [width](float* to, const float* from) {
        for (int i = 0; i < width; ++i) to[i] += from[i];
    };
    const int power = std::max(kLeastPower, ceil_log2(count) / kLevels), step = 1 << power;
    for (int done = 1; done <= count; ++done, row += stride) {
        add(levels[0], row);
        if (done % step || done > count / step * step) continue;
        for (int up = 1; up < kLevels; ++up) {
            add(levels[up], levels[up - 1]);
            std::fill_n(levels[up - 1], width, 0.0f);
            if (done & (int64_t{step - 1} << (up * power))) break;
        }
    }
    for (int up = 1; up < kLevels && count >= step; ++up) add(levels[0], levels[up]);
    for (int i = 0; i < width; ++i) mean[i] = levels[0][i] / static_cast<float>(count);
}

struct Means {
    ThreadPool& pool;
    const float* rows;
    int width;
    const int32_t* cu_seqlens;
    int num_texts;
    float* means;
};

// A thread has a share of all texts' groups of columns.
void work(void* context, int thread) {
    const Means& call = *static_cast<const Means*>(context);
    const int64_t parts = (call.width + kColumns - 1) / kColumns, total = parts * call.num_texts;
    const int64_t threads = call.pool.num_threads(), end = total * (thread + 1) / threads;
    for (int64_t i = total * thread / threads; i < end; ++i) {
        const int text = static_cast<int>(i / parts), first = static_cast<int>(i % parts) * kColumns;
        const int begin = call.cu_seqlens[text], count = call.cu_seqlens[text + 1] - begin;
        mean_columns(call.rows + static_cast<size_t>(begin) * call.width + first, call.width,
                     std::min(kColumns, call.width - first), count, call.means + static_cast<size_t>(text) * call.width + first);
    }
}

}  // namespace

void mean_rows(ThreadPool& pool, const float* rows, int width, const int32_t* cu_seqlens, int num_texts, float* means) {
    Means call{pool, rows, width, cu_seqlens, num_texts, means};
    pool.run(work, &call);
}

}  // namespace farthing
