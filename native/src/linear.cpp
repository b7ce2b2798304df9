// One linear on fp32 rows: for int8 quantised a token, multiplied, scaled; bias added.
#include <atomic>

#include "gemm.h"
#include "isa.h"
#include "numbers.h"
#include "quantize.h"
#include "scratch.h"

namespace farthing::FT_ISA {
namespace {

QuantizedTile take_tile(Carver& carver, int k, QuantizedTile tile) {
    tile.values = carver.take<Input>(static_cast<size_t>(kTileRows) * round_up(k, kChunkBytes));
    tile.scales = carver.take<float>(kTileRows);
    return tile;
}

FloatTile take_tile(Carver& carver, int k, FloatTile tile) {
    tile.values = carver.take<float>(static_cast<size_t>(kTileRows) * round_up(k, kChunkFloats));
    return tile;
}

template <class Numbers>
struct Linear {
    explicit Linear(const LinearCall& call) : call(call), weights(Numbers::matrix(call.form, call.packed, call.n, call.k)) {
        const int threads = call.pool.num_threads();
        num_tiles = static_cast<int>(round_up((call.num_tokens + kTileRows - 1) / kTileRows, threads));
        Carver carver(call.scratch);
        for (int thread = 0; thread < threads; ++thread) tiles[thread] = take_tile(carver, call.k, typename Numbers::Tile{});
    }

    const LinearCall& call;
    typename Numbers::Matrix weights;
    typename Numbers::Tile tiles[kMaxThreads];
    int num_tiles;
    std::atomic<int> next_tile{0};
};

template <class Numbers>
void multiply_rows(const Linear<Numbers>& linear, Range rows, Range panels, typename Numbers::Tile& tile) {
    const LinearCall& call = linear.call;
    fill_tile(tile, rows.size(), call.k,
              [&](int r) { return call.x + static_cast<size_t>(rows.begin + r) * call.k; });
    multiply_with<false>(tile, linear.weights, panels, nullptr, nullptr, [&](Range, int r, int first, Floats a, Floats b) {
        float products[kPanelChannels];
        store(products, a);
        store(products + kLanes, b);
        float* const to = call.y + static_cast<size_t>(rows.begin + r) * call.n + first;
        const int channels = std::min(kPanelChannels, call.n - first);
        for (int c = 0; c < channels; ++c) to[c] = call.bias ? products[c] + call.bias[first + c] : products[c];
    });
}

template <class Numbers>
void work(void* context, int thread) {
    Linear<Numbers>& linear = *static_cast<Linear<Numbers>*>(context);
    const Multiplying multiplying;
    const int num_tokens = linear.call.num_tokens, num_panels = linear.weights.num_panels();
    typename Numbers::Tile& tile = linear.tiles[thread];
    if (num_tokens <= kTileRows) {  // few rows: what costs is reading the weights, so threads split those
        const Range panels = share(num_panels, thread, linear.call.pool.num_threads());
        if (panels.size() > 0) multiply_rows(linear, {0, num_tokens}, panels, tile);
        return;
    }
    for (int i; (i = linear.next_tile.fetch_add(1)) < linear.num_tiles;)
        multiply_rows(linear, share(num_tokens, i, linear.num_tiles), {0, num_panels}, tile);
}

template <class Numbers>
void run(const LinearCall& call) {
    Linear<Numbers> linear(call);
    call.pool.run(work<Numbers>, &linear);
}

template <class Tile>
size_t tiles_bytes(int k, int num_threads) {
    Carver carver(nullptr);
    for (int thread = 0; thread < num_threads; ++thread) take_tile(carver, k, Tile{});
    return carver.used();
}

}  // namespace

void linear(const LinearCall& call) { (call.form == FT_INT8 ? run<Int8Numbers> : run<FloatNumbers>)(call); }

size_t linear_scratch_bytes(int form, int k, int num_threads) {
    return (form == FT_INT8 ? tiles_bytes<QuantizedTile> : tiles_bytes<FloatTile>)(k, num_threads);
}

}  // namespace farthing::FT_ISA
