// How a packed int8 matrix lies in memory; the same for all instruction sets.
//
// Output channels go in panels of 32. A panel is [k / 4][32 channels][4] int8: four inputs of a channel side by side, as
// VPDPBUSD wants them, so that a kernel walks through memory strictly forward. Behind the panels: int32 corrections
// and one fp32 scale a channel. VPDPBUSD multiplies unsigned by signed: activations are fed to it as q + 128, which adds
// 128 * sum(w) to each sum; the correction is that, negated, and a sum simply starts from it. There is one for the whole of a
// channel, and one for each group of 256 inputs, for activations that have a scale a group. Kernels that multiply signed
// inputs have no use for them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace farthing {

constexpr int kPanelChannels = 32;
constexpr int kChunkBytes = 64;  // inputs of a chunk, a byte each in the weights; a row's are padded to whole chunks
constexpr int kGroupInputs = 256;
constexpr int kActivationOffset = 128;
constexpr int kMaxInputs = 65536;  // beyond it, int32 sums of 255 * 127 a product could overflow

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

class PackedMatrix {
public:
    PackedMatrix(const void* bytes, int n, int k)
        : weights_(static_cast<const int8_t*>(bytes)),
          n_(n), padded_n_(static_cast<int>(round_up(n, kPanelChannels))),
          padded_k_(static_cast<int>(round_up(k, kChunkBytes))) {}

    int n() const { return n_; }
    int num_panels() const { return padded_n_ / kPanelChannels; }
    int num_chunks() const { return padded_k_ / kChunkBytes; }
    size_t panel_bytes() const { return static_cast<size_t>(padded_k_) * kPanelChannels; }
    int num_groups() const { return (padded_k_ + kGroupInputs - 1) / kGroupInputs; }
    size_t bytes() const {
        return static_cast<size_t>(padded_n_) * (padded_k_ + (num_groups() + 1) * sizeof(int32_t) + sizeof(float));
    }

    const int8_t* panel(int index) const { return weights_ + index * panel_bytes(); }
    const int32_t* corrections(int panel) const { return corrections() + panel * kPanelChannels; }
    const int32_t* corrections(int panel, int group) const {
        return corrections() + padded_n_ + (panel * num_groups() + group) * kPanelChannels;
    }
    const float* scales(int panel) const { return scales() + panel * kPanelChannels; }

private:
    const int32_t* corrections() const { return reinterpret_cast<const int32_t*>(panel(num_panels())); }
    const float* scales() const { return reinterpret_cast<const float*>(corrections(num_panels(), 0)); }

    const int8_t* weights_;
    int n_, padded_n_, padded_k_;
};

}  // namespace farthing
