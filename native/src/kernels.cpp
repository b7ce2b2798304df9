// What a build for one instruction set exports, and how fast its multiplications can be at all.
#include <chrono>

#include "blocks.h"
#include "isa.h"

#define FT_TEXT_OF(name) #name
#define FT_TEXT(name) FT_TEXT_OF(name)

namespace farthing::FT_ISA {

void linear(const LinearCall& call);
void layer(const LayerCall& call);
void pack_nf4(const PackNf4Call& call);
void unpack_nf4(const UnpackNf4Call& call);

namespace {

// A block so short that all of its operands stay in the L1 cache.
double peak_ops() {
    constexpr int kChunks = 8, kRepeats = 20000;
    const Multiplying multiplying;
    alignas(64) static const Input a[kBlockRows * kChunks * kChunkBytes] = {};
    alignas(64) static const int8_t b[kPanelChannels * kChunks * kChunkBytes] = {};
    alignas(64) static const int32_t starts[kPanelChannels] = {};
    alignas(64) int32_t sums[kBlockRows * kPanelChannels];
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kRepeats; ++i) int8_block(kBlockRows, kChunks, a, b, starts, {b, kChunks, 0, 8}, sums);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    return 2.0 * kBlockRows * kPanelChannels * kChunks * kChunkBytes * kRepeats / seconds.count();
}

}  // namespace

const Kernels& kernels() {
    static constexpr Kernels kernels{FT_TEXT(FT_ISA), linear, layer, pack_nf4, unpack_nf4, peak_ops, sizeof(Input)};
    return kernels;
}

}  // namespace farthing::FT_ISA
