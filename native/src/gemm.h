// A tile of rows times a range of a packed matrix's panels. What becomes of the products is up to the caller: they are still
// in the L1 cache when it sees them, so bias, residual and activation cost no pass over memory.
#pragma once

#include <algorithm>

#include "blocks.h"
#include "blocks_float.h"
#include "lanes.h"
#include "tile.h"

namespace farthing::FT_ISA {

// epilogue(panel, rows, sums): rows of the tile, sums [rows.size(), 32]. After the last panel, `then` is fetched; NULL: the
// panel that follows.
template <class Epilogue>
void gemm(const QuantizedTile& a, const PackedMatrix& w, Range panels, const void* then, Epilogue epilogue) {
    alignas(64) int32_t sums[kBlockRows * kPanelChannels];
    for (int panel = panels.begin; panel < panels.end; ++panel) {
        const void* const following = panel + 1 == panels.end && then ? then : w.panel(panel + 1);
        for (int b = 0; b < a.blocks.count(); ++b) {
            const Range rows = a.blocks[b];
            const Prefetch next(following, w.num_chunks(), b, a.blocks.count());
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

// Likewise in fp32, for some of the matrix's inputs, multiples of 16; the tile's chunks begin with input `a_begin`.
template <class Epilogue>
void gemm_inputs(const FloatTile& a, int a_begin, const FloatMatrix& w, Range inputs, Range panels, const void* then,
                 Epilogue epilogue) {
    alignas(64) float sums[kFloatBlockRows * kPanelChannels];
    const FloatBlock block = float_block(w.form());
    const int num_chunks = inputs.size() / kChunkFloats, first_chunk = (inputs.begin - a_begin) / kChunkFloats;
    for (int panel = panels.begin; panel < panels.end; ++panel) {
        const void* const following = panel + 1 == panels.end && then ? then : w.panel(panel + 1, inputs.begin);
        for (int b = 0; b < a.blocks.count(); ++b) {
            const Range rows = a.blocks[b];
            const Prefetch next(following, num_chunks, b, a.blocks.count(), w.chunk_bytes());
            block(rows.size(), inputs.size(), a.at(rows, rows.begin, first_chunk), w.panel(panel, inputs.begin), kPanelChannels,
                  false, next, sums);
            epilogue(panel, rows, sums);
        }
    }
}

// The second vector of a panel's 32 channels, of `from` [n]; zeros where the matrix ends before it.
FT_INLINE Floats second_lanes(const float* from, int first, int n) {
    return first + kLanes < n ? load_floats(from + first + kLanes) : Floats{};
}

// use(rows of the block, row of the tile, first channel of the panel, its 32 products with bias as two vectors).
template <bool kBias, class Use>
void multiply_with(const QuantizedTile& a, const PackedMatrix& w, Range panels, const float* bias, const void* then, Use use) {
    gemm(a, w, panels, then, [&](int panel, Range rows, const int32_t* sums) {
        const int first = panel * kPanelChannels;
        const Floats left_scale = load_floats(w.scales(panel)), right_scale = load_floats(w.scales(panel) + kLanes);
        Floats left_bias = {}, right_bias = {};
        if constexpr (kBias) left_bias = load_floats(bias + first), right_bias = second_lanes(bias, first, w.n());
        for (int r = rows.begin; r < rows.end; ++r, sums += kPanelChannels) {
            if constexpr (kBias)
                use(rows, r, first, to_floats(sums) * (left_scale * a.scales[r]) + left_bias,
                    to_floats(sums + kLanes) * (right_scale * a.scales[r]) + right_bias);
            else
                use(rows, r, first, to_floats(sums) * (left_scale * a.scales[r]),
                    to_floats(sums + kLanes) * (right_scale * a.scales[r]));
        }
    });
}

template <bool kBias, class Use>
void multiply_inputs_with(const FloatTile& a, int a_begin, const FloatMatrix& w, Range inputs, Range panels, const float* bias,
                          const void* then, Use use) {
    gemm_inputs(a, a_begin, w, inputs, panels, then, [&](int panel, Range rows, const float* sums) {
        const int first = panel * kPanelChannels;
        Floats left_bias = {}, right_bias = {};
        if constexpr (kBias) left_bias = load_floats(bias + first), right_bias = second_lanes(bias, first, w.n());
        for (int r = rows.begin; r < rows.end; ++r, sums += kPanelChannels) {
            if constexpr (kBias)
                use(rows, r, first, load_floats(sums) + left_bias, load_floats(sums + kLanes) + right_bias);
            else
                use(rows, r, first, load_floats(sums), load_floats(sums + kLanes));
        }
    });
}

template <bool kBias, class Use>
void multiply_with(const FloatTile& a, const FloatMatrix& w, Range panels, const float* bias, const void* then, Use use) {
    multiply_inputs_with<kBias>(a, 0, w, {0, w.padded_k()}, panels, bias, then, use);
}

// How both forms of tiles and matrices make products of a block and a panel.
FT_INLINE void multiply_block(const QuantizedTile& a, const PackedMatrix& w, int panel, int b, int32_t* sums) {
    const Prefetch next(w.panel(panel + 1), w.num_chunks(), b, a.blocks.count());
    int8_block(a.blocks[b].size(), w.num_chunks(), a.block<Input>(b), w.panel(panel), w.corrections(panel), next, sums);
}
FT_INLINE void multiply_block(const FloatTile& a, const FloatMatrix& w, int panel, int b, float* sums) {
    const Prefetch next(w.panel(panel + 1), w.padded_k() / kChunkFloats, b, a.blocks.count(), w.chunk_bytes());
    float_block(w.form())(a.blocks[b].size(), w.padded_k(), a.block(b), w.panel(panel), kPanelChannels, false, next, sums);
}
FT_INLINE Floats product(const QuantizedTile& a, const PackedMatrix& w, int r, int channel, const int32_t* sums) {
    return to_floats(sums) * (load_floats(w.scales(0) + channel) * a.scales[r]);
}
FT_INLINE Floats product(const FloatTile&, const FloatMatrix&, int, int, const float* sums) { return load_floats(sums); }

inline int32_t sum_type(const QuantizedTile&);
inline float sum_type(const FloatTile&);

// Of panels and those `offset` panels further on, side by side: use(rows of the block, r, channel, 16 products of the channel and
// its neighbours, 16 of those further on).
template <bool kBias, class Tile, class Matrix, class Use>
void multiply_pairs_with(const Tile& a, const Matrix& w, Range panels, int offset, const float* bias, Use use) {
    constexpr int kSums = std::max(kBlockRows, kFloatBlockRows) * kPanelChannels;
    alignas(64) decltype(sum_type(a)) first_sums[kSums], second_sums[kSums];
    const int further = offset * kPanelChannels;
    for (int panel = panels.begin; panel < panels.end; ++panel)
        for (int b = 0; b < a.blocks.count(); ++b) {
            const Range rows = a.blocks[b];
            multiply_block(a, w, panel, b, first_sums);
            multiply_block(a, w, panel + offset, b, second_sums);
            for (int r = rows.begin; r < rows.end; ++r)
                for (int c = 0; c < kPanelChannels; c += kLanes) {
                    const int channel = panel * kPanelChannels + c, place = (r - rows.begin) * kPanelChannels + c;
                    Floats first = product(a, w, r, channel, first_sums + place);
                    Floats second = product(a, w, r, channel + further, second_sums + place);
                    if constexpr (kBias) {
                        first = first + load_floats(bias + channel);
                        second = second + load_floats(bias + channel + further);
                    }
                    use(rows, r, channel, first, second);
                }
        }
}

template <class Tile, class Matrix, class Use>
void multiply_pairs(const Tile& a, const Matrix& w, Range panels, int offset, const float* bias, Use use) {
    if (bias)
        multiply_pairs_with<true>(a, w, panels, offset, bias, use);
    else
        multiply_pairs_with<false>(a, w, panels, offset, bias, use);
}

// The bias may be NULL: two loops, so that neither asks for each row.
template <class Tile, class Matrix, class Use>
void multiply(const Tile& a, const Matrix& w, Range panels, const float* bias, const void* then, Use use) {
    if (bias)
        multiply_with<true>(a, w, panels, bias, then, use);
    else
        multiply_with<false>(a, w, panels, bias, then, use);
}

// For channels that may begin or end in the middle of a panel: use(rows, r, channel, 16 products) for those in `channels`.
template <class Use>
auto by_halves(Range channels, Use use) {
    return [channels, use](Range rows, int r, int channel, Floats a, Floats b) FT_INLINED {
        if (channel >= channels.begin && channel < channels.end) use(rows, r, channel, a);
        if (channel + kLanes >= channels.begin && channel + kLanes < channels.end) use(rows, r, channel + kLanes, b);
    };
}

inline Range panels_of(Range channels) {
    return {channels.begin / kPanelChannels, static_cast<int>(round_up(channels.end, kPanelChannels) / kPanelChannels)};
}

}  // namespace farthing::FT_ISA
