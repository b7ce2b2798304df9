// Float rows to NF4: what farthing.quant.nf4_packed.pack does, byte for byte. Built without fused multiply-add for that.
#include <algorithm>
#include <limits>

#include "isa.h"
#include "nf4.h"
#include "tile.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kBlockVectors = kBlockInputs / kLanes;
constexpr float kLargestInt8 = 127.0f;

struct Block {
    Floats values[kBlockVectors];

    float largest() const {
        Floats found = {};
        for (const Floats& x : values) found = larger(magnitude(x), found);
        return largest_of(found);
    }
};

struct Codes {
    Words values[kBlockVectors];
};

// Inputs behind the row's end, and rows behind the matrix', are zeros.
Block load_block(const PackNf4Call& call, int row, int first) {
    const int count = row < call.n ? std::min(kBlockInputs, call.k - first) : 0;
    const size_t start = static_cast<size_t>(row) * call.k + first;
    alignas(64) float floats[kBlockInputs] = {};
    if (call.dtype == FT_FLOAT32) {
        std::memcpy(floats, static_cast<const float*>(call.rows) + start, count * sizeof(float));
    } else {
        const uint16_t* const halves = static_cast<const uint16_t*>(call.rows) + start;
        for (int i = 0; i < count; ++i) {
            const uint32_t bits = static_cast<uint32_t>(halves[i]) << 16;
            std::memcpy(floats + i, &bits, sizeof bits);
        }
    }
    Block block;
    for (int i = 0; i < kBlockVectors; ++i) block.values[i] = load_floats(floats + i * kLanes);
    return block;
}

// The codes of the levels nearest to the block over `step`; returns the squared error.
float quantize(const Block& block, float step, Codes& codes) {
    Floats errors = {};
    for (int i = 0; i < kBlockVectors; ++i) {
        const Floats value = step == 0.0f ? Floats{} : block.values[i] / step;
        Words code = {};
        for (int level = 1; level < kLanes; ++level)
            code -= (Words)(value > (kLevels[level] + kLevels[level - 1]) / 2.0f);
        const Floats error = levels(code) * step - block.values[i];
        errors += error * error;
        codes.values[i] = code;
    }
    return sum_of(errors);
}

void store_words(const Codes& codes, uint32_t* words) {
    uint32_t code[kBlockInputs];
    std::memcpy(code, codes.values, sizeof code);
    for (int word = 0; word < kBlockWords; ++word) {
        uint32_t packed = 0;
        for (int i = kWordInputs; i-- > 0;) packed = packed << 4 | code[word * kWordInputs + i];
        words[word * kPanelChannels] = packed;
    }
}

// A row with NaN or Inf gets a scale of NaN or Inf: what its codes are does not matter then.
float scale_of(const PackNf4Call& call, int row, int num_blocks) {
    Ints bits = {};
    for (int block = 0; block < num_blocks; ++block)
        for (const Floats& x : load_block(call, row, block * kBlockInputs).values) {
            const Ints found = (Ints)magnitude(x);  // in the order of the numbers, NaN above all
            bits = larger(found, bits);
        }
    int32_t largest = 0;
    for (int lane = 0; lane < kLanes; ++lane) largest = std::max(largest, bits[lane]);
    float value;
    std::memcpy(&value, &largest, sizeof value);
    return value / kLargestInt8;
}

void pack_row(const PackNf4Call& call, const Nf4Matrix& matrix, int row) {
    const int panel = row / kPanelChannels, channel = row % kPanelChannels;
    const float scale = scale_of(call, row, matrix.num_blocks());
    const_cast<float*>(matrix.scales(panel))[channel] = scale;
    for (int index = 0; index < matrix.num_blocks(); ++index) {
        const Block block = load_block(call, row, index * kBlockInputs);
        const float largest = block.largest();
        float best_error = std::numeric_limits<float>::infinity();
        for (int candidate = 0; candidate < call.num_candidates; ++candidate) {
            const float count = std::nearbyint(largest * call.candidates[candidate] / scale * 2.0f);
            const float half_steps = count >= 0.0f && count <= 2 * kLargestInt8 ? count : 0.0f;
            Codes codes;
            const float error = quantize(block, half_steps / 2.0f * scale, codes);
            if (!(error < best_error)) continue;
            best_error = error;
            const_cast<uint8_t*>(matrix.half_steps(panel, index))[channel] = static_cast<uint8_t>(half_steps);
            store_words(codes, const_cast<uint32_t*>(matrix.words(panel, index)) + channel);
        }
    }
}

}  // namespace

void pack_nf4(const PackNf4Call& call) {
    call.pool.run(
        [](void* opaque, int thread) {
            const PackNf4Call& call = *static_cast<const PackNf4Call*>(opaque);
            const Nf4Matrix matrix(call.nf4, call.n, call.k);
            const Range rows = share(matrix.num_panels() * kPanelChannels, thread, call.pool.num_threads());
            for (int row = rows.begin; row < rows.end; ++row) pack_row(call, matrix, row);
        },
        const_cast<PackNf4Call*>(&call));
}

}  // namespace farthing::FT_ISA
