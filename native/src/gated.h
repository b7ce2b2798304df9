// The gated half of the MLP: both products of a panel, then the activation and the product while the sums are in the L1
// cache, then rotated (rotate.h) and int8 while the group is in the L2 cache: the MLP's inner rows never lie in memory as
// floats.
#pragma once

#include <algorithm>

#include "blocks.h"
#include "lanes.h"
#include "quantize.h"

namespace farthing::FT_ISA {

FT_INLINE Floats scaled(const int32_t* sums, float row_scale, const float* channel_scales) {
    return to_floats(sums) * (load_floats(channel_scales) * row_scale);
}

// Panel `panel` of gate and of up, for all rows; column 0 of `out` is the panel's first channel.
template <class Activation>
void gate_up_panel(const QuantizedTile& a, const PackedMatrix& w, int panel, Activation activation, float* out) {
    alignas(64) int32_t gate_sums[kBlockRows * kPanelChannels], up_sums[kBlockRows * kPanelChannels];
    const int chunks = w.num_chunks(), up_panel = w.num_panels() / 2 + panel;
    const float *gate_scales = w.scales(panel), *up_scales = w.scales(up_panel);
    for (int b = 0; b < a.blocks.count(); ++b) {
        const Range rows = a.blocks[b];
        const Input* const block = a.block<Input>(b);
        const Prefetch next_gate(w.panel(panel + 1), chunks, b, a.blocks.count());
        const Prefetch next_up(w.panel(up_panel + 1), chunks, b, a.blocks.count());
        int8_block(rows.size(), chunks, block, w.panel(panel), w.corrections(panel), next_gate, gate_sums);
        int8_block(rows.size(), chunks, block, w.panel(up_panel), w.corrections(up_panel), next_up, up_sums);
        for (int r = 0; r < rows.size(); ++r) {
            float* const to = out + (rows.begin + r) * kGroupStride;
            const float scale = a.scales[rows.begin + r];
            for (int c = 0; c < kPanelChannels; c += kLanes) {
                const Floats gate = scaled(gate_sums + r * kPanelChannels + c, scale, gate_scales + c);
                const Floats up = scaled(up_sums + r * kPanelChannels + c, scale, up_scales + c);
                store(to + c, activation(gate) * up);
            }
        }
    }
}

// `out` = activation(gate) * up for the groups of kGroupInputs channels in `groups`, rotated and quantised with a scale a
// group; `w` holds gate's panels, then up's. `out` must have its shape; buffer: [kTileRows][kGroupStride].
template <class Activation>
void gate_up(const QuantizedTile& a, const PackedMatrix& w, Range groups, float* buffer, QuantizedTile& out,
             Activation activation) {
    constexpr int kGroupPanels = kGroupInputs / kPanelChannels;
    for (int group = groups.begin; group < groups.end; ++group) {
        const Range panels{group * kGroupPanels, std::min((group + 1) * kGroupPanels, w.num_panels() / 2)};
        for (int panel = panels.begin; panel < panels.end; ++panel)
            gate_up_panel(a, w, panel, activation, buffer + (panel - panels.begin) * kPanelChannels);
        rotate_quantize_group(buffer, kGroupStride, group, out);
    }
}

}  // namespace farthing::FT_ISA
