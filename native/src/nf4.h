// How an NF4 matrix lies in memory; src/farthing/quant/nf4_packed.py describes it.
#pragma once

#include "lanes.h"
#include "packed.h"

namespace farthing::FT_ISA {

constexpr Floats kLevels = {-1.0f,
                            -0.6961928009986877f,
                            -0.5250730514526367f,
                            -0.39491748809814453f,
                            -0.28444138169288635f,
                            -0.18477343022823334f,
                            -0.09105003625154495f,
                            0.0f,
                            0.07958029955625534f,
                            0.16093020141124725f,
                            0.24611230194568634f,
                            0.33791524171829224f,
                            0.44070982933044434f,
                            0.5626170039176941f,
                            0.7229568362236023f,
                            1.0f};
constexpr int kBlockInputs = kChunkBytes;  // that share a count of half steps
constexpr int kWordInputs = 8;             // of a channel, four bits each in a uint32, the first lowest
constexpr int kBlockWords = kBlockInputs / kWordInputs;

// kLevels of the lowest four bits of each lane.
FT_INLINE Floats levels(Words codes) {
#if defined(__AVX512F__)
    return __builtin_shuffle(kLevels, codes);
#else
    // Two tables of eight, which AVX2 looks up in a register.
    using Floats8 __attribute__((vector_size(32))) = float;
    using Words8 __attribute__((vector_size(32))) = uint32_t;
    constexpr int kHalf = kLanes / 2;
    Floats8 low, high;
    std::memcpy(&low, &kLevels, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&kLevels) + sizeof low, sizeof high);
    Floats found;
    for (int half = 0; half < 2; ++half) {
        Words8 index;
        std::memcpy(&index, reinterpret_cast<const char*>(&codes) + half * sizeof index, sizeof index);
        const Floats8 level = (index & kHalf) != 0 ? __builtin_shuffle(high, index) : __builtin_shuffle(low, index);
        std::memcpy(reinterpret_cast<char*>(&found) + half * sizeof level, &level, sizeof level);
    }
    return found;
#endif
}

// Words and half steps of a panel go block by block; channel c of block b is at c of what `words` and `half_steps` return.
class Nf4Matrix {
public:
    Nf4Matrix(const void* bytes, int n, int k)
        : bytes_(static_cast<const char*>(bytes)), num_panels_(static_cast<int>(round_up(n, kPanelChannels) / kPanelChannels)),
          num_blocks_(static_cast<int>(round_up(k, kBlockInputs) / kBlockInputs)) {}

    int num_panels() const { return num_panels_; }
    int num_blocks() const { return num_blocks_; }
    // [kBlockWords][32]
    const uint32_t* words(int panel, int block) const {
        return reinterpret_cast<const uint32_t*>(bytes_) + index(panel, block) * kBlockWords * kPanelChannels;
    }
    const float* scales(int panel) const {
        return reinterpret_cast<const float*>(words(num_panels_, 0)) + panel * kPanelChannels;
    }
    const uint8_t* half_steps(int panel, int block) const {
        return reinterpret_cast<const uint8_t*>(scales(num_panels_)) + index(panel, block) * kPanelChannels;
    }

private:
    size_t index(int panel, int block) const { return static_cast<size_t>(panel) * num_blocks_ + block; }

    const char* bytes_;
    int num_panels_, num_blocks_;
};

}  // namespace farthing::FT_ISA
