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
        const int q_width = shape_.q_width(), kv_width = shape_.kv_width();
        const size_t stride = row_stride(2 * kv_width);
        const PackedMatrix w = qkv();
        {
            const StageTimer timer(profile_, Stage::kQkv);
            const auto store = store_floats(quantized_, w, floats_ - q_width, stride);
            gemm(quantized_, w, panels_of_heads(q_width, heads, 1), store);
            gemm(quantized_, w, panels_of_heads(q_width + kv_width, heads, 1), store);
        }
        const StageTimer timer(profile_, Stage::kRope);
        float turned[kMaxHeadDim];
        const HeadTransform transform = this->transform(call_.weights.k_norm);
        store_keys_values(floats_, stride, shape_.kv_heads, tokens, heads, walk_.texts, walk_.scratch.kv,
                          [&](const float* key, int index) {
                              norm_rotate(key, index, 1.0f, transform, turned);
                              return turned;
                          });
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
        const PackedMatrix w = qkv();
        const size_t stride = row_stride(shape_.q_width());
        {
            const StageTimer timer(profile_, Stage::kQkv);
            gemm(quantized_, w, panels_of_heads(0, heads, shape_.group()), store_floats(quantized_, w, floats_, stride));
        }
        const StageTimer timer(profile_, Stage::kRope);
        const int head_dim = shape_.head_dim, group_width = shape_.group() * head_dim;
        const float scale = kLog2E / std::sqrt(static_cast<float>(head_dim));
        const HeadTransform transform = this->transform(call_.weights.q_norm);
        float turned[kMaxHeadDim];
        for (int r = 0; r < count; ++r) {
            const int position = rows_[r] - text_of(r).begin;
            limits_[r] = position + 1;
            for (int head = heads.begin; head < heads.end; ++head) {
                const float* const from = floats_ + r * stride + head * group_width;
                uint16_t* const to = query_row(head, r);
                for (int g = 0; g < group_width; g += head_dim) {
                    norm_rotate(from + g, position, scale, transform, turned);
                    store_bf16_row(turned, head_dim, to + g);
                }
            }
        }
    }

    void project(int count) {
        {
            const StageTimer timer(profile_, Stage::kQuantize);
            quantize_rows(floats_, row_stride(shape_.q_width()), count, shape_.q_width(), quantized_);
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
            inner_.shape(count, shape_.intermediate);
            gate_up(quantized_, w, team_.part(inner_.num_groups()), tile_.floats, inner_);
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
