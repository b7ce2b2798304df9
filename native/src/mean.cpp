// The mean of each text's rows, as mean pooling wants it.
//
// Rows are added as torch adds them along an outer dimension (SumKernel.cpp, cascade sum), so that the two give the same
// bits: at most 2^power rows make a sum, as many sums the next one, and so on.
#include "mean.h"

#include <algorithm>
#include <vector>

namespace farthing {
namespace {

constexpr int kLevels = 4, kLeastPower = 4;

void add(float* to, const float* from, int width) {
    for (int i = 0; i < width; ++i) to[i] += from[i];
}

int ceil_log2(int count) {
    int power = 0;
    while ((int64_t{1} << power) < count) ++power;
    return power;
}

}  // namespace

void mean_rows(const float* rows, int width, const int32_t* cu_seqlens, int num_texts, float* means) {
    std::vector<float> memory(static_cast<size_t>(kLevels) * width);
    const auto level = [&](int index) { return memory.data() + static_cast<size_t>(index) * width; };
    for (int text = 0; text < num_texts; ++text) {
        const float* row = rows + static_cast<size_t>(cu_seqlens[text]) * width;
        const int count = cu_seqlens[text + 1] - cu_seqlens[text];
        const int power = std::max(kLeastPower, ceil_log2(count) / kLevels), step = 1 << power;
        std::fill(memory.begin(), memory.end(), 0.0f);
        for (int done = 1; done <= count; ++done, row += width) {
            add(level(0), row, width);
            if (done % step || done > count / step * step) continue;
            for (int up = 1; up < kLevels; ++up) {
                add(level(up), level(up - 1), width);
                std::fill_n(level(up - 1), width, 0.0f);
                if (done & (int64_t{step - 1} << (up * power))) break;
            }
        }
        for (int up = 1; up < kLevels && count >= step; ++up) add(level(0), level(up), width);
        float* const mean = means + static_cast<size_t>(text) * width;
        for (int i = 0; i < width; ++i) mean[i] = level(0)[i] / static_cast<float>(count);
    }
}

}  // namespace farthing
