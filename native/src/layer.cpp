// One Qwen3 layer on a packed batch, in one parallel region (layer_walk.h).
#include <cmath>

#include "activation.h"
#include "exp2.h"
#include "gemm.h"
#include "isa.h"
#include "kv_store.h"
#include "layer_walk.h"
#include "quantize.h"
#include "rope.h"

namespace farthing::FT_ISA {
namespace {

class Worker : LayerWorker {
public:
    Worker(LayerWalk& walk, const Qwen3Call& call, int thread) : LayerWorker(walk, thread), call_(call) {}

    void run() {
        walk([this](Range tokens) { keys_values(tokens); }, [this](Range rows) { finish(rows); });
    }

private:
    PackedMatrix qkv() const { return {call_.weights.qkv, shape_.q_width() + 2 * shape_.kv_width(), shape_.hidden}; }

    HeadTransform transform(const float* gain) const {
        return {gain, batch_.cos, batch_.sin, call_.spec.rms_eps, shape_.head_dim};
    }

    void normalize(const float* gain, int count) {
        const StageTimer timer(profile_, Stage::kNorm);
        norm_quantize_rows(call_.hidden, rows_, count, shape_.hidden, gain, call_.spec.rms_eps, tile_.row, quantized_);
    }

    void keys_values(Range tokens) {
        take_tokens(tokens);
        normalize(call_.weights.input_norm, tokens.size());
        const Range heads = team_.part(shape_.kv_heads);
        const int q_width = shape_.q_width(), v_begin = q_width + shape_.kv_width();
        const size_t stride = row_stride(shape_.head_dim);
        const HeadTransform transform = this->transform(call_.weights.k_norm);
        float turned[kMaxHeadDim];
        const auto turn = [&](const float* key, int position) {
            norm_rotate(key, position, 1.0f, transform, turned);
            return turned;
        };
        for (int head = heads.begin; head < heads.end; ++head) {
            project_head(q_width, head);
            const StageTimer timer(profile_, Stage::kRope);
            store_keys(tile_.head, stride, head, tokens, walk_.texts, walk_.scratch.kv, turn);
        }
        for (int head = heads.begin; head < heads.end; ++head) {
            project_head(v_begin, head);
            const StageTimer timer(profile_, Stage::kRope);
            store_values(tile_.head, stride, head, tokens, walk_.texts, walk_.scratch.kv);
        }
    }

    // tile_.head = the tile's product with the head of qkv whose kind (q, k or v) begins at `first_column`: it is still in
    // the L2 cache when it is used.
    void project_head(int first_column, int head) {
        const StageTimer timer(profile_, Stage::kQkv);
        const PackedMatrix w = qkv();
        gemm(quantized_, w, panels_of_heads(first_column, {head, head + 1}, 1),
             store_floats(quantized_, w, tile_.head - (first_column + head * shape_.head_dim), row_stride(shape_.head_dim)));
    }

    // Queries, attention, and everything behind it for some of the rows that go on.
    void finish(Range range) {
        const int count = range.size();
        take_rows(range);
        const Range heads = team_.part(shape_.kv_heads);
        queries(count, heads);
        attention(count, heads);
        meet();
        project(count);
        meet();
        mlp(count);
    }

    void queries(int count, Range heads) {
        normalize(call_.weights.input_norm, count);
        for (int r = 0; r < count; ++r) {
            const int text = text_of(r);
            limits_[r] = walk_.scratch.kv.offset(text) + rows_[r] - walk_.texts[text].begin + 1;
        }
        const int head_dim = shape_.head_dim, group = shape_.group();
        const float scale = kLog2E / std::sqrt(static_cast<float>(head_dim));
        const HeadTransform transform = this->transform(call_.weights.q_norm);
        float turned[kMaxHeadDim];
        for (int head = heads.begin * group; head < heads.end * group; ++head) {
            project_head(0, head);
            const StageTimer timer(profile_, Stage::kRope);
            for (int r = 0; r < count; ++r) {
                norm_rotate(tile_.head + r * row_stride(head_dim), limits_[r] - 1, scale, transform, turned);
                store_bf16_row(turned, head_dim, query_row(head / group, r) + head % group * head_dim);
            }
        }
    }

    void project(int count) {
        {
            const StageTimer timer(profile_, Stage::kQuantize);
            quantize_head_rows(attended(), count, false, tile_.row, quantized_);
        }
        const StageTimer timer(profile_, Stage::kOutput);
        const PackedMatrix w(call_.weights.o, shape_.hidden, shape_.q_width());
        gemm(quantized_, w, team_.part(w.num_panels()), add_floats(quantized_, w, call_.hidden, shape_.hidden, rows_));
    }

    void mlp(int count) {
        normalize(call_.weights.mlp_norm, count);
        {
            const StageTimer timer(profile_, Stage::kGateUp);
            const PackedMatrix w(call_.weights.gate_up, 2 * shape_.intermediate, shape_.hidden);
            inner_.shape(count, shape_.intermediate, kBlockRows);
            gate_up(quantized_, w, team_.part(inner_.num_groups()), tile_.group, inner_);
        }
        meet();
        const StageTimer timer(profile_, Stage::kDown);
        const PackedMatrix w(call_.weights.down, shape_.hidden, shape_.intermediate);
        gemm_groups(inner_, w, team_.part(w.num_panels()), [&](int panel, Range rows, const float* totals) {
            const float* const scales = w.scales(panel);
            for (int r = rows.begin; r < rows.end; ++r, totals += kPanelChannels) {
                float* const to = call_.hidden + rows_[r] * static_cast<size_t>(shape_.hidden) + panel * kPanelChannels;
                for (int c = 0; c < kPanelChannels; c += kLanes)
                    store(to + c, load_floats(to + c) + load_floats(totals + c) * load_floats(scales + c));
            }
        });
    }

    const Qwen3Call& call_;
};

}  // namespace

void qwen3_layer(const Qwen3Call& call) { run_layer<Worker>(call, kTileRows); }

}  // namespace farthing::FT_ISA
