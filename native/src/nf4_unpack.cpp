// NF4 matrices to packed int8 ones with the same channel scales: a value is level[code] * half steps / 2, rounded. Built
// without fused multiply-add, so that all instruction sets round alike.
#include <algorithm>

#include "isa.h"
#include "nf4.h"
#include "tile.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kPanelVectors = kPanelChannels / kLanes;

// 64 inputs of 16 channels; returns their sums.
FT_INLINE Words unpack_block(const uint32_t* words, const uint8_t* half_steps, int8_t* out) {
    const Floats factor = converted<Floats>(widened(half_steps)) * 0.5f;
    Words sums = {};
    for (int word = 0; word < kBlockWords; ++word) {
        Words codes = load<Words>(words + word * kPanelChannels);
        for (int step = 0; step < 2; ++step, out += kPanelChannels * 4) {
            Words values = {};
            for (int input = 0; input < 4; ++input, codes >>= 4) {
                const Words rounded = (Words)(levels(codes) * factor + kRoundingMagic);
                sums += rounded;
                values |= (rounded & 255u) << (8 * input);
            }
            store(out, values);
        }
    }
    const Words magic = (Words)(Floats{} + kRoundingMagic);  // its bits came along with each value
    return sums - magic * kBlockInputs;
}

void store_correction(const int32_t* to, int vector, Words sums) {
    store(const_cast<int32_t*>(to) + vector * kLanes, sums * static_cast<uint32_t>(-kActivationOffset));
}

void unpack_panel(const Nf4Matrix& from, const PackedMatrix& to, int panel) {
    constexpr int kGroupBlocks = kGroupInputs / kBlockInputs;
    Words totals[kPanelVectors] = {};
    for (int group = 0; group < to.num_groups(); ++group) {
        Words sums[kPanelVectors] = {};
        for (int block = group * kGroupBlocks; block < std::min(from.num_blocks(), (group + 1) * kGroupBlocks); ++block) {
            int8_t* const out = const_cast<int8_t*>(to.panel(panel)) + block * kBlockInputs * kPanelChannels;
            for (int i = 0; i < kPanelVectors; ++i)
                sums[i] += unpack_block(from.words(panel, block) + i * kLanes, from.half_steps(panel, block) + i * kLanes,
                                        out + i * kLanes * 4);
        }
        for (int i = 0; i < kPanelVectors; ++i) {
            store_correction(to.corrections(panel, group), i, sums[i]);
            totals[i] += sums[i];
        }
    }
    for (int i = 0; i < kPanelVectors; ++i) store_correction(to.corrections(panel), i, totals[i]);
    std::memcpy(const_cast<float*>(to.scales(panel)), from.scales(panel), kPanelChannels * sizeof(float));
}

}  // namespace

void unpack_nf4(const UnpackNf4Call& call) {
    call.pool.run(
        [](void* opaque, int thread) {
            const UnpackNf4Call& call = *static_cast<const UnpackNf4Call*>(opaque);
            const Nf4Matrix from(call.nf4, call.n, call.k);
            const PackedMatrix to(call.packed, call.n, call.k);
            const Range panels = share(from.num_panels(), thread, call.pool.num_threads());
            for (int panel = panels.begin; panel < panels.end; ++panel) unpack_panel(from, to, panel);
        },
        const_cast<UnpackNf4Call*>(&call));
}

}  // namespace farthing::FT_ISA
