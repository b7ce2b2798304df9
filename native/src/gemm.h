// Quantised rows times a range of a packed matrix's panels. What becomes of the sums is up to the caller's epilogue:
// they are still in the L1 cache when it sees them, so scaling, bias, residual and activation cost no pass over memory.
#pragma once

#include <algorithm>

#include "blocks.h"
#include "lanes.h"
#include "tile.h"

namespace farthing::FT_ISA {

// epilogue(panel, rows, sums): rows of the tile, sums [rows.size(), 32].
template <class Epilogue>
void gemm(const QuantizedTile& a, const PackedMatrix& w, Range panels, Epilogue epilogue) {
    alignas(64) int32_t sums[kBlockRows * kPanelChannels];
    for (int panel = panels.begin; panel < panels.end; ++panel) {
        for (int b = 0; b < a.blocks.count(); ++b) {
            const Range rows = a.blocks[b];
            const Prefetch next(w.panel(panel + 1), w.num_chunks(), b, a.blocks.count());
            int8_block(rows.size(), w.num_chunks(), a.block<Input>(b), w.panel(panel), w.corrections(panel), next, sums);
            epilogue(panel, rows, sums);
        }
    }
}

// Likewise for a tile with a scale a group: sums of the groups are scaled and added, float totals [rows.size(), 32].
template <class Epilogue>
void gemm_groups(const QuantizedTile& a, const PackedMatrix& w, Range panels, Epilogue epilogue) {
    alignas(64) float totals[kBlockRows * kPanelChannels];
    constexpr int kGroupChunks = kGroupInputs / kChunkBytes;
    const int num_groups = w.num_groups();
    for (int panel = panels.begin; panel < panels.end; ++panel) {
        for (int b = 0; b < a.blocks.count(); ++b) {
            const Range rows = a.blocks[b];
            Prefetch next(w.panel(panel + 1), w.num_chunks(), b, a.blocks.count());
            std::fill_n(totals, rows.size() * kPanelChannels, 0.0f);
            for (int group = 0; group < num_groups; ++group, next.skip(kGroupChunks)) {
                const int first = group * kGroupChunks, chunks = std::min(kGroupChunks, w.num_chunks() - first);
                int8_block_scaled(rows.size(), chunks, a.block<Input>(b) + first * rows.size() * kChunkBytes,
                                  w.panel(panel) + first * kChunkBytes * kPanelChannels, w.corrections(panel, group), next,
                                  a.scales + rows.begin * num_groups + group, num_groups, totals);
            }
            epilogue(panel, rows, totals);
        }
    }
}

// A row's sums times its scale and the channels', vector by vector: use(first channel of the vector, values).
template <class Use>
FT_INLINE void scaled_row(const int32_t* sums, float row_scale, const float* channel_scales, Use use) {
    for (int c = 0; c < kPanelChannels; c += kLanes)
        use(c, to_floats(sums + c) * (load_floats(channel_scales + c) * row_scale));
}

// Row r goes to out + r * stride, column 0 of which is the first panel of the matrix.
inline auto store_floats(const QuantizedTile& a, const PackedMatrix& w, float* out, size_t stride) {
    return [&a, &w, out, stride](int panel, Range rows, const int32_t* sums) {
        const float* const scales = w.scales(panel);
        for (int r = rows.begin; r < rows.end; ++r, sums += kPanelChannels) {
            float* const to = out + r * stride + panel * kPanelChannels;
            scaled_row(sums, a.scales[r], scales, [to](int c, Floats values) { store(to + c, values); });
        }
    };
}

// Adds to row rows_of[r] of `out`.
inline auto add_floats(const QuantizedTile& a, const PackedMatrix& w, float* out, size_t stride, const int* rows_of) {
    return [&a, &w, out, stride, rows_of](int panel, Range rows, const int32_t* sums) {
        const float* const scales = w.scales(panel);
        for (int r = rows.begin; r < rows.end; ++r, sums += kPanelChannels) {
            float* const to = out + rows_of[r] * stride + panel * kPanelChannels;
            scaled_row(sums, a.scales[r], scales, [to](int c, Floats values) { store(to + c, load_floats(to + c) + values); });
        }
    };
}

}  // namespace farthing::FT_ISA
