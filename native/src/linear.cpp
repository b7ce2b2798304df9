// One int8 linear on fp32 rows: quantised a token, multiplied, scaled, bias added.
#include <atomic>

#include "blocks.h"
#include "gemm.h"
#include "isa.h"
#include "quantize.h"
#include "scratch.h"

namespace farthing::FT_ISA {
namespace {

struct Linear {
    const LinearCall& call;
    PackedMatrix weights;
    QuantizedTile tiles[kMaxThreads];
    int num_tiles;
    std::atomic<int> next_tile{0};
};

void multiply(const Linear& linear, Range rows, Range panels, QuantizedTile& tile) {
    const LinearCall& call = linear.call;
    const PackedMatrix& w = linear.weights;
    quantize_rows(call.x + static_cast<size_t>(rows.begin) * call.k, call.k, rows.size(), call.k, tile);
    gemm(tile, w, panels, [&](int panel, Range block, const int32_t* sums) {
        const int first = panel * kPanelChannels, channels = std::min(kPanelChannels, call.n - first);
        const float* const scales = w.scales(panel);
        for (int r = block.begin; r < block.end; ++r, sums += kPanelChannels) {
            float* const to = call.y + static_cast<size_t>(rows.begin + r) * call.n + first;
            for (int c = 0; c < channels; ++c) {
                const float product = static_cast<float>(sums[c]) * (tile.scales[r] * scales[c]);
                to[c] = call.bias ? product + call.bias[first + c] : product;
            }
        }
    });
}

void work(void* context, int thread) {
    Linear& linear = *static_cast<Linear*>(context);
    const Multiplying multiplying;
    const int num_tokens = linear.call.num_tokens, num_panels = linear.weights.num_panels();
    QuantizedTile& tile = linear.tiles[thread];
    if (num_tokens <= kTileRows) {  // few rows: what costs is reading the weights, so threads split those
        const Range panels = share(num_panels, thread, linear.call.pool.num_threads());
        if (panels.size() > 0) multiply(linear, {0, num_tokens}, panels, tile);
        return;
    }
    for (int i; (i = linear.next_tile.fetch_add(1)) < linear.num_tiles;)
        multiply(linear, share(num_tokens, i, linear.num_tiles), {0, num_panels}, tile);
}

}  // namespace

void linear(const LinearCall& call) {
    const int threads = call.pool.num_threads();
    Linear linear{call, PackedMatrix(call.packed, call.n, call.k), {}, 0, {}};
    linear.num_tiles = static_cast<int>(round_up((call.num_tokens + kTileRows - 1) / kTileRows, threads));
    Carver carver(call.scratch);
    for (int thread = 0; thread < threads; ++thread) {
        linear.tiles[thread].values = carver.take<Input>(static_cast<size_t>(kTileRows) * round_up(call.k, kChunkBytes));
        linear.tiles[thread].scales = carver.take<float>(kTileRows);
    }
    call.pool.run(work, &linear);
}

}  // namespace farthing::FT_ISA
