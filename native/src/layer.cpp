// One Qwen3 layer on a packed batch, in one parallel region.
//
// Usually each thread takes tiles of tokens through all of the layer, so that a tile stays in its L2 cache; they meet
// once, when all keys and values are there. With so few rows that streaming the weights is what costs, the threads
// split heads and output channels instead and share one tile: each reads only its part of the weights, but they meet
// after each product.
#include <atomic>
#include <cmath>

#include "activation.h"
#include "attention.h"
#include "exp2.h"
#include "gemm.h"
#include "isa.h"
#include "layer_scratch.h"
#include "quantize.h"
#include "rope.h"

namespace farthing::FT_ISA {
namespace {

struct Team {
    int index, size;
    Range part(int total) const { return share(total, index, size); }
};

struct Widths {
    explicit Widths(const ft_qwen3_spec& spec)
        : hidden(spec.hidden), q(spec.q_heads * spec.head_dim), kv(spec.kv_heads * spec.head_dim),
          intermediate(spec.intermediate), group(spec.q_heads / spec.kv_heads) {}
    int hidden, q, kv, intermediate, group;
};

// Distance of rows in the tile of floats: were it a power of two, all rows of a block would fall into one cache set.
constexpr size_t row_stride(int width) { return static_cast<size_t>(width) + 16; }

struct Layer {
    explicit Layer(const LayerCall& call)
        : call(call), widths(call.spec), texts(call.batch), scratch(call.scratch, call.spec, call.batch.num_tokens,
          call.batch.num_texts), num_rows(call.batch.keep ? call.batch.num_keep : call.batch.num_tokens) {
        int32_t* const starts = scratch.kv.starts;
        starts[0] = 0;
        for (int text = 0; text < texts.count(); ++text)
            starts[text + 1] = starts[text] + static_cast<int32_t>(round_up(texts[text].size(), kKeyPanel));
        scratch.kv.padded_tokens = starts[texts.count()];
        for (int thread = 0; thread < call.pool.num_threads(); ++thread) tiles[thread] = scratch.take_tile(call.spec);
        key_tiles = num_tiles(call.batch.num_tokens, kTileRows - kTileAlign + 1);
        row_tiles = num_tiles(num_rows, kTileRows);
    }

    int num_tiles(int rows, int tile_rows) const {
        return static_cast<int>(round_up((rows + tile_rows - 1) / tile_rows, call.pool.num_threads()));
    }

    HeadTransform transform(const float* gain) const {
        return {gain, call.batch.cos, call.batch.sin, call.spec.rms_eps, call.spec.head_dim};
    }

    // The `index`-th of `count` shares of the tokens, moved down so that it begins at a panel of its text's keys.
    Range key_tile(int index, int count) const {
        const auto bound = [&](int i) {
            const int token = share(call.batch.num_tokens, i, count).begin;
            if (i == count) return call.batch.num_tokens;
            const int start = texts[texts.of(token)].begin;
            return start + (token - start) / kTileAlign * kTileAlign;
        };
        return {bound(index), bound(index + 1)};
    }

    const LayerCall& call;
    const Widths widths;
    const Texts texts;
    LayerScratch scratch;
    TileScratch tiles[kMaxThreads];
    const int num_rows;  // that go on after attention
    int key_tiles, row_tiles;
    std::atomic<int> next_key_tile{0}, next_row_tile{0};
};

// A thread's way through the layer.
class Worker {
public:
    Worker(Layer& layer, int thread)
        : layer_(layer), call_(layer.call), widths_(layer.widths), thread_(thread), tile_(layer.tiles[thread]),
          floats_(tile_.floats), inner_(tile_.inner), quantized_(tile_.quantized),
          profile_(layer.call.pool.profile(thread)) {}

    void run() {
        const int num_tokens = call_.batch.num_tokens;
        if (num_tokens <= kTileRows) {
            share_tile();
            keys_values({0, num_tokens});
        } else {
            for (int i; (i = layer_.next_key_tile.fetch_add(1)) < layer_.key_tiles;)
                keys_values(layer_.key_tile(i, layer_.key_tiles));
        }
        {
            const StageTimer timer(profile_, Stage::kWait);
            call_.pool.barrier().wait();
        }
        if (layer_.num_rows <= kTileRows) {
            share_tile();
            finish({0, layer_.num_rows});
        } else {
            own_tile();
            // A long text's last rows attend to the most keys: they go first, so that threads end together.
            for (int i; (i = layer_.next_row_tile.fetch_add(1)) < layer_.row_tiles;)
                finish(share(layer_.num_rows, layer_.row_tiles - 1 - i, layer_.row_tiles));
        }
    }

private:
    void share_tile() {
        team_ = {thread_, call_.pool.num_threads()};
        floats_ = layer_.tiles[0].floats;
        inner_ = layer_.tiles[0].inner;
    }

    void own_tile() {
        team_ = {0, 1};
        floats_ = tile_.floats;
        inner_ = tile_.inner;
    }

    void meet() {
        if (team_.size == 1) return;
        const StageTimer timer(profile_, Stage::kWait);
        call_.pool.barrier().wait();
    }

    Range panels_of_heads(int first_column, Range heads, int heads_per) const {
        const int panels = call_.spec.head_dim / kPanelChannels, first = first_column / kPanelChannels;
        return {first + heads.begin * heads_per * panels, first + heads.end * heads_per * panels};
    }

    PackedMatrix qkv() const { return {call_.weights.qkv, widths_.q + 2 * widths_.kv, widths_.hidden}; }

    void normalize(const float* gain, int count) {
        const StageTimer timer(profile_, Stage::kNorm);
        norm_quantize_rows(call_.hidden, rows_, count, widths_.hidden, gain, call_.spec.rms_eps, tile_.row, quantized_);
    }

    void keys_values(Range tokens) {
        if (tokens.size() == 0) return;
        for (int r = 0; r < tokens.size(); ++r) rows_[r] = tokens.begin + r;
        normalize(call_.weights.input_norm, tokens.size());
        const Range heads = team_.part(call_.spec.kv_heads);
        const size_t stride = row_stride(2 * widths_.kv);
        const PackedMatrix w = qkv();
        {
            const StageTimer timer(profile_, Stage::kQkv);
            const auto store = store_floats(quantized_, w, floats_ - widths_.q, stride);
            gemm(quantized_, w, panels_of_heads(widths_.q, heads, 1), store);
            gemm(quantized_, w, panels_of_heads(widths_.q + widths_.kv, heads, 1), store);
        }
        const StageTimer timer(profile_, Stage::kRope);
        store_keys_values(floats_, stride, call_.spec.kv_heads, tokens, heads, layer_.texts,
                          layer_.transform(call_.weights.k_norm), layer_.scratch.kv);
    }

    // Queries, attention, and everything behind it for some of the rows that go on.
    void finish(Range range) {
        const int count = range.size();
        if (count == 0) return;
        for (int r = 0; r < count; ++r)
            rows_[r] = call_.batch.keep ? call_.batch.keep[range.begin + r] : range.begin + r;
        const Range heads = team_.part(call_.spec.kv_heads);
        queries(count, heads);
        attention(count, heads);
        meet();
        project(count);
        meet();
        mlp(count);
    }

    void queries(int count, Range heads) {
        normalize(call_.weights.input_norm, count);
        const PackedMatrix w = qkv();
        const size_t stride = row_stride(widths_.q);
        {
            const StageTimer timer(profile_, Stage::kQkv);
            gemm(quantized_, w, panels_of_heads(0, heads, widths_.group), store_floats(quantized_, w, floats_, stride));
        }
        const StageTimer timer(profile_, Stage::kRope);
        const int head_dim = call_.spec.head_dim, group_width = widths_.group * head_dim;
        const float scale = kLog2E / std::sqrt(static_cast<float>(head_dim));
        const HeadTransform transform = layer_.transform(call_.weights.q_norm);
        for (int r = 0; r < count; ++r) {
            positions_[r] = rows_[r] - layer_.texts[layer_.texts.of(rows_[r])].begin;
            for (int head = heads.begin; head < heads.end; ++head) {
                const float* const from = floats_ + r * stride + head * group_width;
                uint16_t* const to = query_row(head, r);
                for (int g = 0; g < group_width; g += head_dim) store_query(from + g, positions_[r], scale, transform, to + g);
            }
        }
    }

    uint16_t* query_row(int head, int row) const {
        return tile_.queries + (static_cast<size_t>(head) * kTileRows + row) * widths_.group * call_.spec.head_dim;
    }

    void attention(int count, Range heads) {
        const StageTimer timer(profile_, Stage::kAttention);
        const KvBuffers& kv = layer_.scratch.kv;
        const AttentionScratch scratch{tile_.outputs, tile_.largest, tile_.sums};
        const int head_dim = call_.spec.head_dim;
        for (int begin = 0; begin < count;) {
            const int text = layer_.texts.of(rows_[begin]);
            int end = begin + 1;
            while (end < count && rows_[end] < layer_.texts[text].end) ++end;
            for (int head = heads.begin; head < heads.end; ++head) {
                float* const out = floats_ + begin * row_stride(widths_.q) + head * widths_.group * head_dim;
                attend({query_row(head, begin), positions_ + begin, end - begin, widths_.group, head_dim,
                        kv.text_keys(head, text), kv.text_values(head, text), kv.padded_length(text), out,
                        row_stride(widths_.q)},
                       scratch);
            }
            begin = end;
        }
    }

    void project(int count) {
        {
            const StageTimer timer(profile_, Stage::kQuantize);
            quantize_rows(floats_, row_stride(widths_.q), count, widths_.q, quantized_);
        }
        const StageTimer timer(profile_, Stage::kOutput);
        const PackedMatrix w(call_.weights.o, widths_.hidden, widths_.q);
        gemm(quantized_, w, team_.part(w.num_panels()), add_floats(quantized_, w, call_.hidden, widths_.hidden, rows_));
    }

    void mlp(int count) {
        normalize(call_.weights.mlp_norm, count);
        {
            const StageTimer timer(profile_, Stage::kGateUp);
            const PackedMatrix w(call_.weights.gate_up, 2 * widths_.intermediate, widths_.hidden);
            inner_.shape(count, widths_.intermediate);
            gate_up(quantized_, w, team_.part(inner_.num_groups()), tile_.floats, inner_);
        }
        meet();
        const StageTimer timer(profile_, Stage::kDown);
        const PackedMatrix w(call_.weights.down, widths_.hidden, widths_.intermediate);
        gemm_groups(inner_, w, team_.part(w.num_panels()), [&](int panel, Range rows, const float* totals) {
            const float* const scales = w.scales(panel);
            for (int r = rows.begin; r < rows.end; ++r, totals += kPanelChannels) {
                float* const to = call_.hidden + rows_[r] * static_cast<size_t>(widths_.hidden) + panel * kPanelChannels;
                for (int c = 0; c < kPanelChannels; c += kLanes)
                    store(to + c, load_floats(to + c) + load_floats(totals + c) * load_floats(scales + c));
            }
        });
    }

    Layer& layer_;
    const LayerCall& call_;
    const Widths& widths_;
    const int thread_;
    TileScratch& tile_;
    Team team_{0, 1};
    float* floats_;
    QuantizedTile inner_;  // its memory is the tile's, or the one that all threads share
    QuantizedTile& quantized_;
    Profile& profile_;
    int rows_[kTileRows], positions_[kTileRows];
};

}  // namespace

void qwen3_layer(const LayerCall& call) {
    Layer layer(call);
    call.pool.run([](void* context, int thread) { Worker(*static_cast<Layer*>(context), thread).run(); }, &layer);
}

}  // namespace farthing::FT_ISA
