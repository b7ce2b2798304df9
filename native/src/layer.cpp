// One layer of an encoder on a packed batch, in one parallel region (layer_walk.h): what it is, its spec says.
//
// Two kinds are computed. Norms before the halves: RMSNorm of the rows that enter a product, nothing has a bias, and what a
// half makes is added where the rows lie. Norms behind the halves: the rows that enter a product are rotated (rotate.h),
// all products have a bias, and LayerNorm goes over the sum of the rows and what the half makes.
#include <cmath>

#include "gated.h"
#include "exp2.h"
#include "activation.h"
#include "gemm.h"
#include "isa.h"
#include "kv_store.h"
#include "layer_norm.h"
#include "layer_walk.h"
#include "quantize.h"
#include "rope.h"

namespace farthing::FT_ISA {
namespace {

// Weights of a layer up to this size mostly lie in the L3 cache: threads that read them each for itself lose less than
// threads that meet.
constexpr int64_t kCachedWeightBytes = int64_t{13} << 20;

int shared_rows(const LayerCall& call) {
    const LayerShape shape(call.spec);
    const int64_t projections = shape.q_width() + 2 * shape.kv_width() + shape.q_width();
    const int64_t bytes = shape.hidden * (projections + int64_t{2 + call.spec.is_gated} * shape.intermediate);
    return bytes > kCachedWeightBytes ? kTileRows : kBlockRows;
}

// An epilogue: use(row of the tile, first channel of the panel, its 32 products with bias as two vectors).
template <class Use>
auto with_bias(const QuantizedTile& a, const PackedMatrix& w, const float* bias, Use use) {
    return [&a, &w, bias, use](int panel, Range rows, const int32_t* sums) {
        const int first = panel * kPanelChannels;
        const Floats left_scale = load_floats(w.scales(panel)), right_scale = load_floats(w.scales(panel) + kLanes);
        const Floats left_bias = load_floats(bias + first), right_bias = load_floats(bias + first + kLanes);
        for (int r = rows.begin; r < rows.end; ++r, sums += kPanelChannels)
            use(r, first, to_floats(sums) * (left_scale * a.scales[r]) + left_bias,
                to_floats(sums + kLanes) * (right_scale * a.scales[r]) + right_bias);
    };
}

template <class Use>
auto without_bias(const QuantizedTile& a, const PackedMatrix& w, Use use) {
    return [&a, &w, use](int panel, Range rows, const int32_t* sums) {
        const Floats left_scale = load_floats(w.scales(panel)), right_scale = load_floats(w.scales(panel) + kLanes);
        for (int r = rows.begin; r < rows.end; ++r, sums += kPanelChannels)
            use(r, panel * kPanelChannels, to_floats(sums) * (left_scale * a.scales[r]),
                to_floats(sums + kLanes) * (right_scale * a.scales[r]));
    };
}

class Worker : LayerWorker {
public:
    Worker(LayerWalk& walk, const LayerCall& call, int thread)
        : LayerWorker(walk, thread), call_(call), spec_(call.spec), weights_(call.weights) {}

    void run() {
        walk([this](Range tokens) { keys_values(tokens); }, [this](Range rows) { finish(rows); });
    }

private:
    PackedMatrix qkv() const { return {weights_.qkv, shape_.q_width() + 2 * shape_.kv_width(), shape_.hidden}; }

    float* hidden_row(int r) const { return call_.hidden + static_cast<size_t>(rows_[r]) * shape_.hidden; }
    float* unnormed_row(int r) const { return unnormed_ + r * row_stride(shape_.hidden); }

    HeadTransform transform(const float* gain) const {
        return {gain, batch_.cos, batch_.sin, spec_.norm_eps, shape_.head_dim};
    }

    // quantized_ = the tile's rows as a half's first product reads them.
    void enter(const float* gain, int count) {
        if (spec_.norms_sums) {
            const StageTimer timer(profile_, Stage::kQuantize);
            rotate_quantize_rows(call_.hidden, shape_.hidden, rows_, count, shape_.hidden, tile_.row, quantized_);
        } else {
            const StageTimer timer(profile_, Stage::kNorm);
            norm_quantize_rows(call_.hidden, rows_, count, shape_.hidden, gain, spec_.norm_eps, tile_.row, quantized_);
        }
    }

    void keys_values(Range tokens) {
        take_tokens(tokens);
        enter(weights_.attention_norm_gain, tokens.size());
        const Range heads = team_.part(shape_.kv_heads);
        const int q_width = shape_.q_width(), v_begin = q_width + shape_.kv_width();
        const size_t stride = row_stride(shape_.head_dim);
        const HeadTransform transform = this->transform(weights_.k_norm);
        float turned[kMaxHeadDim];
        const auto turn = [&](const float* key, int position) {
            norm_rotate(key, position, 1.0f, transform, turned);
            return turned;
        };
        const auto as_it_is = [](const float* key, int) { return key; };
        for (int head = heads.begin; head < heads.end; ++head) {
            project_head(q_width, head);
            const StageTimer timer(profile_, Stage::kRope);
            if (spec_.turns_heads)
                store_keys(tile_.head, stride, head, tokens, walk_.texts, walk_.scratch.kv, turn);
            else
                store_keys(tile_.head, stride, head, tokens, walk_.texts, walk_.scratch.kv, as_it_is);
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
        const size_t stride = row_stride(shape_.head_dim);
        const int first = first_column + head * shape_.head_dim;
        const Range panels = panels_of_heads(first_column, {head, head + 1}, 1);
        if (weights_.qkv_bias)
            gemm(quantized_, w, panels, with_bias(quantized_, w, weights_.qkv_bias, [&](int r, int channel, Floats a, Floats b) {
                     float* const to = tile_.head + r * stride + channel - first;
                     store(to, a);
                     store(to + kLanes, b);
                 }));
        else
            gemm(quantized_, w, panels, store_floats(quantized_, w, tile_.head - first, stride));
    }

    // Queries, attention, and everything behind it for some of the rows that go on.
    void finish(Range range) {
        const int count = range.size();
        take_rows(range);
        const Range heads = team_.part(shape_.kv_heads);
        enter(weights_.attention_norm_gain, count);
        take_limits(count);
        if (spec_.turns_heads)
            turned_queries(count, heads);
        else
            queries(count, heads);
        attention(count, heads);
        meet();
        project(count);
        normalize(count, {weights_.attention_norm_gain, weights_.attention_norm_bias, spec_.norm_eps});
        meet();
        mlp(count);
        normalize(count, {weights_.mlp_norm_gain, weights_.mlp_norm_bias, spec_.norm_eps});
    }

    // Row r attends to the keys before position limits_[r].
    void take_limits(int count) {
        for (int r = 0; r < count; ++r) {
            const int text = text_of(r);
            limits_[r] = spec_.is_causal ? walk_.scratch.kv.offset(text) + rows_[r] - walk_.texts[text].begin + 1
                                         : walk_.texts[text].size();
        }
    }

    float query_scale() const { return kLog2E / std::sqrt(static_cast<float>(shape_.head_dim)); }

    void turned_queries(int count, Range heads) {
        const int head_dim = shape_.head_dim, group = shape_.group();
        const float scale = query_scale();
        const HeadTransform transform = this->transform(weights_.q_norm);
        float turned[kMaxHeadDim];
        for (int head = heads.begin * group; head < heads.end * group; ++head) {
            project_head(0, head);
            const StageTimer timer(profile_, Stage::kRope);
            for (int r = 0; r < count; ++r) {
                norm_rotate(tile_.head + r * row_stride(head_dim), position_of(r), scale, transform, turned);
                store_bf16_row(turned, head_dim, query_row(head / group, r) + head % group * head_dim);
            }
        }
    }

    int position_of(int r) const {
        const int text = text_of(r);
        return walk_.scratch.kv.offset(text) + rows_[r] - walk_.texts[text].begin;
    }

    void queries(int count, Range heads) {
        const StageTimer timer(profile_, Stage::kQkv);
        const PackedMatrix w = qkv();
        const int head_dim = shape_.head_dim, group = shape_.group();
        const float scale = query_scale();
        const auto store_scaled = [&](int r, int channel, Floats a, Floats b) {
            const int head = channel / head_dim;
            uint16_t* const to = query_row(head / group, r) + head % group * head_dim + channel % head_dim;
            store_bf16(to, a * scale, b * scale);
        };
        const Range panels = panels_of_heads(0, heads, group);
        if (weights_.qkv_bias)
            gemm(quantized_, w, panels, with_bias(quantized_, w, weights_.qkv_bias, store_scaled));
        else
            gemm(quantized_, w, panels, without_bias(quantized_, w, store_scaled));
    }

    void project(int count) {
        {
            const StageTimer timer(profile_, Stage::kQuantize);
            quantize_head_rows(attended(), count, spec_.is_rotated, tile_.row, quantized_);
        }
        const StageTimer timer(profile_, Stage::kOutput);
        const PackedMatrix w(weights_.o, shape_.hidden, shape_.q_width());
        const Range panels = team_.part(w.num_panels());
        if (spec_.norms_sums)
            gemm(quantized_, w, panels, with_bias(quantized_, w, weights_.o_bias, [&](int r, int channel, Floats a, Floats b) {
                     const float* const residual = hidden_row(r) + channel;
                     store(unnormed_row(r) + channel, load_floats(residual) + a);
                     store(unnormed_row(r) + channel + kLanes, load_floats(residual + kLanes) + b);
                 }));
        else
            gemm(quantized_, w, panels, add_floats(quantized_, w, call_.hidden, shape_.hidden, rows_));
    }

    // Where norms go over sums: the rows of `hidden` from the tile's sums, each by one thread.
    void normalize(int count, const LayerNorm& norm) {
        if (!spec_.norms_sums) return;
        meet();
        const StageTimer timer(profile_, Stage::kNorm);
        const Range own = team_.part(count);
        for (int r = own.begin; r < own.end; ++r) layer_norm_row(unnormed_row(r), shape_.hidden, norm, hidden_row(r));
    }

    void mlp(int count) {
        enter(weights_.mlp_norm_gain, count);
        switch (spec_.activation) {
            case FT_GELU: inner(count, Gelu()); break;
            case FT_GELU_TANH: inner(count, GeluTanh()); break;
            default: inner(count, Silu());
        }
        meet();
        down();
    }

    // inner_ = the MLP's inner rows. A group of kGroupInputs channels at a time becomes int8 while it is in the L2 cache.
    template <class Activation>
    void inner(int count, Activation activation) {
        const StageTimer timer(profile_, Stage::kGateUp);
        inner_.shape(count, shape_.intermediate, kBlockRows);
        const Range groups = team_.part(inner_.num_groups());
        if (spec_.is_gated) {
            const PackedMatrix w(weights_.up, 2 * shape_.intermediate, shape_.hidden);
            gate_up(quantized_, w, groups, tile_.group, inner_, activation);
            return;
        }
        const PackedMatrix w(weights_.up, shape_.intermediate, shape_.hidden);
        float* const buffer = tile_.group;
        for (int group = groups.begin; group < groups.end; ++group) {
            const int first = group * kGroupInputs, width = std::min(kGroupInputs, shape_.intermediate - first);
            const Range panels{first / kPanelChannels, (first + width) / kPanelChannels};
            const auto store_active = [&](int r, int channel, Floats a, Floats b) {
                float* const to = buffer + r * kGroupStride + channel - first;
                store(to, activation(a));
                store(to + kLanes, activation(b));
            };
            if (weights_.up_bias)
                gemm(quantized_, w, panels, with_bias(quantized_, w, weights_.up_bias, store_active));
            else
                gemm(quantized_, w, panels, without_bias(quantized_, w, store_active));
            rotate_quantize_group(buffer, kGroupStride, group, inner_);
        }
    }

    void down() {
        const StageTimer timer(profile_, Stage::kDown);
        const PackedMatrix w(weights_.down, shape_.hidden, shape_.intermediate);
        const Range panels = team_.part(w.num_panels());
        if (spec_.norms_sums)
            gemm_groups(inner_, w, panels, [&](int panel, Range rows, const float* totals) {
                const int first = panel * kPanelChannels;
                for (int r = rows.begin; r < rows.end; ++r, totals += kPanelChannels)
                    for (int c = 0; c < kPanelChannels; c += kLanes)
                        store(unnormed_row(r) + first + c, load_floats(totals + c) * load_floats(w.scales(panel) + c) +
                                                               load_floats(weights_.down_bias + first + c) +
                                                               load_floats(hidden_row(r) + first + c));
            });
        else
            gemm_groups(inner_, w, panels, [&](int panel, Range rows, const float* totals) {
                const float* const scales = w.scales(panel);
                for (int r = rows.begin; r < rows.end; ++r, totals += kPanelChannels) {
                    float* const to = hidden_row(r) + panel * kPanelChannels;
                    for (int c = 0; c < kPanelChannels; c += kLanes)
                        store(to + c, load_floats(to + c) + load_floats(totals + c) * load_floats(scales + c));
                }
            });
    }

    const LayerCall& call_;
    const ft_layer_spec& spec_;
    const ft_layer_weights& weights_;
};

}  // namespace

void layer(const LayerCall& call) { run_layer<Worker>(call, shared_rows(call)); }

}  // namespace farthing::FT_ISA
