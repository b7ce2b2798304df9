// How an NF4 matrix lies in memory; src/farthing/quant/nf4_packed.py describes it.
#pragma once

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "lanes.h"
#include "packed.h"

namespace farthing::FT_ISA {

alignas(64) constexpr float kLevels[kLanes] = {-1.0f,
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

// kLevels of codes 0 to 15: by a look-up in registers where the instruction set has one of that size.
FT_INLINE Floats levels_of(Words codes) {
#if defined(__AVX512F__)
    return (Floats)_mm512_permutexvar_ps((__m512i)codes, (__m512)load_floats(kLevels));
#elif defined(__AVX2__)
    const __m256 low = _mm256_load_ps(kLevels), high = _mm256_load_ps(kLevels + kPartLanes);
    return Floats::of_parts([&](int i) {
        const __m256i index = (__m256i)codes.part[i];
        const __m256 of_low = _mm256_permutevar8x32_ps(low, index), of_high = _mm256_permutevar8x32_ps(high, index);
        const __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // bit 3 becomes the sign
        return (Floats::Part)_mm256_blendv_ps(of_low, of_high, is_high);
    });
#elif defined(__aarch64__)
    uint8x16x4_t table;
    std::memcpy(&table, kLevels, sizeof table);
    const Words bytes = codes * 0x04040404u + 0x03020100u;  // where the four bytes of a level lie
    return Floats::of_parts([&](int i) { return (Floats::Part)vqtbl4q_u8(table, (uint8x16_t)bytes.part[i]); });
#else
    float found[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) found[lane] = kLevels[codes[lane]];
    return load_floats(found);
#endif
}

// kLevels of the lowest four bits of each lane.
FT_INLINE Floats levels(Words codes) { return levels_of(codes & (kLanes - 1u)); }

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
