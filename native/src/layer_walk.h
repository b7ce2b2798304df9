// How threads go through a layer together; what they compute on the way is the layer's (layer.cpp).
//
// Usually each thread takes tiles of tokens through all of the layer, so that a tile stays in its L2 cache; they meet
// once, when all keys and values are there. With so few rows that streaming the weights is what costs, the threads
// split heads and output channels instead and share one tile: each reads only its part of the weights, but they meet
// after each product.
#pragma once

#include <atomic>

#include "attention.h"
#include "isa.h"
#include "layer_scratch.h"
#include "threads.h"

namespace farthing::FT_ISA {

struct Team {
    int index, size;
    Range part(int total) const { return share(total, index, size); }
};

// What all threads of a call see.
template <class Numbers>
struct LayerWalk {
    // Up to `shared_rows` rows (at most a tile's) that go on are one tile that threads share.
    LayerWalk(ThreadPool& pool, const LayerShape& shape, const ft_batch& batch, char* memory, int shared_rows)
        : pool(pool), shape(shape), batch(batch), texts(batch),
          num_rows(batch.keep ? batch.num_keep : batch.num_tokens), scratch(memory, shape, batch.num_tokens, batch.num_texts),
          tile_rows(static_cast<int>(scratch.rows)), shared_rows(std::min(shared_rows, tile_rows)) {
        int32_t* const starts = scratch.kv.starts;
        starts[0] = 0;
        for (int text = 0; text < texts.count(); ++text)
            starts[text + 1] = starts[text] + static_cast<int32_t>(round_up(texts[text].size(), kKeyPanel));
        scratch.kv.padded_tokens = starts[texts.count()];
        scratch.kv.prefixes = batch.prefixes;
        for (int thread = 0; thread < pool.num_threads(); ++thread) tiles[thread] = scratch.take_tile(shape, thread == 0);
        key_tiles = num_tiles(batch.num_tokens, tile_rows - kTileAlign + 1);
        row_tiles = num_tiles(num_rows, tile_rows);
    }

    static size_t scratch_bytes(const LayerShape& shape, int num_tokens, int num_texts, int num_threads) {
        LayerScratch<Numbers> scratch(nullptr, shape, num_tokens, num_texts);
        for (int thread = 0; thread < num_threads; ++thread) scratch.take_tile(shape, thread == 0);
        return scratch.used();
    }

    int num_tiles(int rows, int tile_rows) const {
        return static_cast<int>(round_up((rows + tile_rows - 1) / tile_rows, pool.num_threads()));
    }

    // The `index`-th share of the tokens, moved down so that it begins at a panel of its text's keys.
    Range key_tile(int index) const {
        const auto bound = [&](int i) {
            if (i == key_tiles) return batch.num_tokens;
            const int token = share(batch.num_tokens, i, key_tiles).begin, start = texts[texts.of(token)].begin;
            return start + (token - start) / kTileAlign * kTileAlign;
        };
        return {bound(index), bound(index + 1)};
    }

    ThreadPool& pool;
    const LayerShape shape;
    const ft_batch& batch;
    const Texts texts;
    const int num_rows;  // that go on after attention
    LayerScratch<Numbers> scratch;
    const int tile_rows, shared_rows;
    TileScratch<Numbers> tiles[kMaxThreads];
    int key_tiles, row_tiles;
    std::atomic<int> next_key_tile{0}, next_row_tile{0};
};

// A thread's way through the layer.
template <class Numbers>
class LayerWorker {
protected:
    using Attended = typename Numbers::Attended;
    using Tile = typename Numbers::Tile;

    LayerWorker(LayerWalk<Numbers>& walk, int thread)
        : walk_(walk), shape_(walk.shape), batch_(walk.batch), thread_(thread), tile_(walk.tiles[thread]),
          entered_(tile_.entered), profile_(walk.pool.profile(thread)) {
        own_tile();
    }

    // Calls keys_values(tokens) until all have theirs, then finish(range of the rows that go on).
    template <class KeysValues, class Finish>
    void walk(KeysValues keys_values, Finish finish) {
        if (batch_.num_tokens <= walk_.tile_rows) {
            share_tile();
            keys_values(Range{0, batch_.num_tokens});
        } else {
            for (int i; (i = walk_.next_key_tile.fetch_add(1)) < walk_.key_tiles;)
                if (const Range tokens = walk_.key_tile(i); tokens.size() > 0) keys_values(tokens);
        }
        wait();
        if (walk_.num_rows <= walk_.shared_rows) {
            share_tile();
            if (walk_.num_rows > 0) finish(Range{0, walk_.num_rows});
        } else {
            own_tile();
            // A causal text's last rows attend to the most keys: they go first, so that threads end together.
            for (int i; (i = walk_.next_row_tile.fetch_add(1)) < walk_.row_tiles;)
                if (const Range rows = share(walk_.num_rows, walk_.row_tiles - 1 - i, walk_.row_tiles); rows.size() > 0)
                    finish(rows);
        }
    }

    void meet() {
        if (team_.size > 1) wait();
    }

    // rows_[r] becomes the token that row r of the tile is.
    void take_tokens(Range tokens) {
        for (int r = 0; r < tokens.size(); ++r) rows_[r] = tokens.begin + r;
    }
    void take_rows(Range range) {
        for (int r = 0; r < range.size(); ++r) rows_[r] = batch_.keep ? batch_.keep[range.begin + r] : range.begin + r;
    }

    int text_of(int r) const { return walk_.texts.of(rows_[r]); }

    Attended* query_row(int head, int row) const {
        return queries_ + (static_cast<size_t>(head) * walk_.tile_rows + row) * shape_.group() * shape_.head_dim;
    }

    // The tile's queries become what attention makes of them, row r seeing the keys before position limits_[r], and with a
    // window those from firsts_[r] on.
    void attention(int count, Range heads, bool has_window) {
        const StageTimer timer(profile_, Stage::kAttention);
        const KvBuffers<Attended>& kv = walk_.scratch.kv;
        const AttentionScratch scratch{tile_.outputs, tile_.largest, tile_.sums, tile_.gathered};
        const int head_dim = shape_.head_dim, group = shape_.group(), bias_stride = 2 * batch_.bias_reach + kKeyPanel;
        for (int begin = 0; begin < count;) {
            const int text = walk_.texts.of(rows_[begin]);
            int end = begin + 1;
            while (end < count && rows_[end] < walk_.texts[text].end) ++end;
            for (int head = heads.begin; head < heads.end; ++head)
                attend<Attended>(
                    {query_row(head, begin), limits_ + begin, end - begin, group, head_dim, kv, head, text,
                     has_window ? firsts_ + begin : nullptr,
                     batch_.distance_bias ? batch_.distance_bias + static_cast<size_t>(head) * group * bias_stride : nullptr,
                     bias_begins_ + begin, bias_stride},
                    scratch);
            begin = end;
        }
    }

    LayerWalk<Numbers>& walk_;
    const LayerShape& shape_;
    const ft_batch& batch_;
    const int thread_;
    TileScratch<Numbers>& tile_;
    Team team_;
    Attended* queries_;  // of the tile, or of the one that all threads share
    float* unnormed_;    // likewise
    Tile inner_;         // likewise
    Tile& entered_;
    Profile& profile_;
    int rows_[kTileRows], limits_[kTileRows], firsts_[kTileRows], bias_begins_[kTileRows];

private:
    void use_tile(const TileScratch<Numbers>& tile, Team team) {
        team_ = team;
        queries_ = tile.queries;
        unnormed_ = tile.unnormed;
        inner_ = tile.inner;
    }
    void share_tile() { use_tile(walk_.tiles[0], {thread_, walk_.pool.num_threads()}); }
    void own_tile() { use_tile(tile_, {0, 1}); }

    void wait() {
        const StageTimer timer(profile_, Stage::kWait);
        walk_.pool.barrier().wait();
    }
};

// Worker(walk, call, thread).run() on every thread.
template <class Worker, class Numbers>
void run_layer(const LayerCall& call, int shared_rows) {
    struct Context {
        const LayerCall& call;
        LayerWalk<Numbers> walk;
    } context{call, {call.pool, LayerShape(call.spec), call.batch, call.scratch, shared_rows}};
    call.pool.run(
        [](void* opaque, int thread) {
            Context& context = *static_cast<Context*>(opaque);
            const Multiplying multiplying;
            Worker(context.walk, context.call, thread).run();
        },
        &context);
}

}  // namespace farthing::FT_ISA
