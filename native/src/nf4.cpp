// NF4 matrices (src/farthing/quant/nf4_packed.py describes the block) to packed int8 ones with the same channel scales.
//
// An int8 value is level[code] * half steps / 2, rounded. Built without fused multiply-add, so that all instruction sets
// round alike.
#include <algorithm>
#include <cstring>

#include "isa.h"
#include "lanes.h"
#include "packed.h"
#include "tile.h"

namespace farthing::FT_ISA {
namespace {

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
constexpr int kWordInputs = 8;  // of a channel, four bits each in a uint32, the first lowest
constexpr int kStepChannels = kPanelChannels / kLanes;

// kLevels of the lowest four bits of each lane.
FT_INLINE Floats levels(Words codes) {
#if defined(__AVX512F__)
    return __builtin_shuffle(kLevels, codes);
#else
    // Two tables of eight, which AVX2 looks up in a register.
    using Floats8 __attribute__((vector_size(32))) = float;
    using Words8 __attribute__((vector_size(32))) = uint32_t;
    constexpr int kHalf = kLanes / 2;
    const Floats8 low = {kLevels[0], kLevels[1], kLevels[2], kLevels[3], kLevels[4], kLevels[5], kLevels[6], kLevels[7]};
    const Floats8 high = {kLevels[8],  kLevels[9],  kLevels[10], kLevels[11],
                          kLevels[12], kLevels[13], kLevels[14], kLevels[15]};
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

struct Unpack {
    const UnpackNf4Call& call;
    PackedMatrix matrix;
    int num_words;  // of a channel

    const uint32_t* words(int panel) const {
        return static_cast<const uint32_t*>(call.nf4) + static_cast<size_t>(panel) * num_words * kPanelChannels;
    }
    const float* scales(int panel) const {
        return reinterpret_cast<const float*>(words(matrix.num_panels())) + panel * kPanelChannels;
    }
    const uint8_t* half_steps(int panel) const {
        return reinterpret_cast<const uint8_t*>(scales(matrix.num_panels())) +
               static_cast<size_t>(panel) * matrix.num_chunks() * kPanelChannels;
    }
};

// 64 inputs of 16 channels; returns their sums.
FT_INLINE Words unpack_chunk(const uint32_t* words, const uint8_t* half_steps, int8_t* out) {
    const Floats factor = __builtin_convertvector(load<Bytes>(half_steps), Floats) * 0.5f;
    Words sums = {};
    for (int word = 0; word < kChunkBytes / kWordInputs; ++word) {
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
    float magic = kRoundingMagic;  // its bits came along with each value
    uint32_t bits;
    std::memcpy(&bits, &magic, sizeof bits);
    return sums - bits * kChunkBytes;
}

void unpack_panel(const Unpack& unpack, int panel) {
    const PackedMatrix& matrix = unpack.matrix;
    constexpr int kGroupChunks = kGroupInputs / kChunkBytes;
    Words totals[kStepChannels] = {};
    for (int group = 0; group < matrix.num_groups(); ++group) {
        Words sums[kStepChannels] = {};
        const int end = std::min(matrix.num_chunks(), (group + 1) * kGroupChunks);
        for (int chunk = group * kGroupChunks; chunk < end; ++chunk) {
            const uint32_t* const words = unpack.words(panel) + chunk * (kChunkBytes / kWordInputs) * kPanelChannels;
            const uint8_t* const half_steps = unpack.half_steps(panel) + chunk * kPanelChannels;
            int8_t* const out = const_cast<int8_t*>(matrix.panel(panel)) + chunk * kChunkBytes * kPanelChannels;
            for (int i = 0; i < kStepChannels; ++i)
                sums[i] += unpack_chunk(words + i * kLanes, half_steps + i * kLanes, out + i * kLanes * 4);
        }
        for (int i = 0; i < kStepChannels; ++i) {
            store(const_cast<int32_t*>(matrix.corrections(panel, group)) + i * kLanes,
                  sums[i] * static_cast<uint32_t>(-kActivationOffset));
            totals[i] += sums[i];
        }
    }
    for (int i = 0; i < kStepChannels; ++i)
        store(const_cast<int32_t*>(matrix.corrections(panel)) + i * kLanes,
              totals[i] * static_cast<uint32_t>(-kActivationOffset));
    std::memcpy(const_cast<float*>(matrix.scales(panel)), unpack.scales(panel), kPanelChannels * sizeof(float));
}

}  // namespace

void unpack_nf4(const UnpackNf4Call& call) {
    const PackedMatrix matrix(call.packed, call.n, call.k);
    struct Context {
        Unpack unpack;
        int num_threads;
    } context{{call, matrix, matrix.num_chunks() * (kChunkBytes / kWordInputs)}, call.pool.num_threads()};
    call.pool.run(
        [](void* opaque, int thread) {
            const Context& context = *static_cast<const Context*>(opaque);
            const Range panels = share(context.unpack.matrix.num_panels(), thread, context.num_threads);
            for (int panel = panels.begin; panel < panels.end; ++panel) unpack_panel(context.unpack, panel);
        },
        &context);
}

}  // namespace farthing::FT_ISA
