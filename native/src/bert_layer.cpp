// One BERT layer on a packed batch, in one parallel region (layer_walk.h): bidirectional attention, LayerNorm behind each
// half. The rows that enter a product are rotated before they are quantised (rotate.h).
#include <cmath>

#include "exp2.h"
#include "gelu.h"
#include "gemm.h"
#include "isa.h"
#include "kv_store.h"
#include "layer_norm.h"
#include "layer_walk.h"
#include "quantize.h"

namespace farthing::FT_ISA {
namespace {

// Weights of these models mostly lie in the L3 cache: reading them once for each thread costs less than meeting.
constexpr int kSharedRows = kBlockRows;

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

class Worker : LayerWorker {
public:
    Worker(LayerWalk& walk, const BertCall& call, int thread) : LayerWorker(walk, thread), call_(call) {}

    void run() {
        walk([this](Range tokens) { keys_values(tokens); }, [this](Range rows) { finish(rows); });
    }

private:
    PackedMatrix qkv() const { return {call_.weights.qkv, 3 * shape_.hidden, shape_.hidden}; }

    float* hidden_row(int r) const { return call_.hidden + static_cast<size_t>(rows_[r]) * shape_.hidden; }
    float* unnormed_row(int r) const { return unnormed_ + r * row_stride(shape_.hidden); }

    void quantize_hidden(int count) {
        const StageTimer timer(profile_, Stage::kQuantize);
        rotate_quantize_rows(call_.hidden, shape_.hidden, rows_, count, shape_.hidden, tile_.row, quantized_);
    }

    void keys_values(Range tokens) {
        take_tokens(tokens);
        quantize_hidden(tokens.size());
        const Range heads = team_.part(shape_.kv_heads);
        const size_t stride = row_stride(shape_.head_dim);
        for (int head = heads.begin; head < heads.end; ++head) {
            project_head(shape_.hidden, head);
            const StageTimer timer(profile_, Stage::kRope);
            store_keys(tile_.head, stride, head, tokens, walk_.texts, walk_.scratch.kv, [](const float* key, int) { return key; });
        }
        for (int head = heads.begin; head < heads.end; ++head) {
            project_head(2 * shape_.hidden, head);
            const StageTimer timer(profile_, Stage::kRope);
            store_values(tile_.head, stride, head, tokens, walk_.texts, walk_.scratch.kv);
        }
    }

    // tile_.head = the tile's product with the head of qkv whose kind (k or v) begins at `first_column`.
    void project_head(int first_column, int head) {
        const StageTimer timer(profile_, Stage::kQkv);
        const PackedMatrix w = qkv();
        const size_t stride = row_stride(shape_.head_dim);
        const int first = first_column + head * shape_.head_dim;
        gemm(quantized_, w, panels_of_heads(first_column, {head, head + 1}, 1),
             with_bias(quantized_, w, call_.weights.qkv_bias, [&](int r, int channel, Floats a, Floats b) {
                 float* const to = tile_.head + r * stride + channel - first;
                 store(to, a);
                 store(to + kLanes, b);
             }));
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
        normalize(count, {call_.weights.attention_norm_gain, call_.weights.attention_norm_bias, call_.spec.norm_eps});
        meet();
        switch (call_.spec.activation) {
            case FT_GELU: up(count, Gelu()); break;
            case FT_GELU_TANH: up(count, GeluTanh()); break;
            default: up(count, Silu());
        }
        meet();
        down();
        normalize(count, {call_.weights.mlp_norm_gain, call_.weights.mlp_norm_bias, call_.spec.norm_eps});
    }

    void queries(int count, Range heads) {
        for (int r = 0; r < count; ++r) limits_[r] = walk_.texts[text_of(r)].size();
        quantize_hidden(count);
        const StageTimer timer(profile_, Stage::kQkv);
        const PackedMatrix w = qkv();
        const int head_dim = shape_.head_dim;
        const float scale = kLog2E / std::sqrt(static_cast<float>(head_dim));
        gemm(quantized_, w, panels_of_heads(0, heads, 1),
             with_bias(quantized_, w, call_.weights.qkv_bias, [&](int r, int channel, Floats a, Floats b) {
                 store_bf16(query_row(channel / head_dim, r) + channel % head_dim, a * scale, b * scale);
             }));
    }

    void project(int count) {
        {
            const StageTimer timer(profile_, Stage::kQuantize);
            quantize_head_rows(attended(), count, true, tile_.row, quantized_);
        }
        const StageTimer timer(profile_, Stage::kOutput);
        const PackedMatrix w(call_.weights.o, shape_.hidden, shape_.hidden);
        gemm(quantized_, w, team_.part(w.num_panels()),
             with_bias(quantized_, w, call_.weights.o_bias, [&](int r, int channel, Floats a, Floats b) {
                 const float* const residual = hidden_row(r) + channel;
                 store(unnormed_row(r) + channel, load_floats(residual) + a);
                 store(unnormed_row(r) + channel + kLanes, load_floats(residual + kLanes) + b);
             }));
    }

    // The rows of `hidden` from the tile's sums, each by one thread.
    void normalize(int count, const LayerNorm& norm) {
        meet();
        const StageTimer timer(profile_, Stage::kNorm);
        const Range own = team_.part(count);
        for (int r = own.begin; r < own.end; ++r) layer_norm_row(unnormed_row(r), shape_.hidden, norm, hidden_row(r));
    }

    // A group of kGroupInputs channels at a time, which becomes int8 while it is in the L2 cache.
    template <class Activation>
    void up(int count, Activation activation) {
        quantize_hidden(count);
        const StageTimer timer(profile_, Stage::kGateUp);
        const PackedMatrix w(call_.weights.up, shape_.intermediate, shape_.hidden);
        inner_.shape(count, shape_.intermediate, kBlockRows);
        float* const buffer = tile_.group;
        const Range groups = team_.part(inner_.num_groups());
        for (int group = groups.begin; group < groups.end; ++group) {
            const int first = group * kGroupInputs, width = std::min(kGroupInputs, shape_.intermediate - first);
            const auto epilogue = with_bias(quantized_, w, call_.weights.up_bias, [&](int r, int channel, Floats a, Floats b) {
                float* const to = buffer + r * kGroupStride + channel - first;
                store(to, activation(a));
                store(to + kLanes, activation(b));
            });
            gemm(quantized_, w, {first / kPanelChannels, (first + width) / kPanelChannels}, epilogue);
            rotate_quantize_group(buffer, kGroupStride, group, inner_);
        }
    }

    void down() {
        const StageTimer timer(profile_, Stage::kDown);
        const PackedMatrix w(call_.weights.down, shape_.hidden, shape_.intermediate);
        gemm_groups(inner_, w, team_.part(w.num_panels()), [&](int panel, Range rows, const float* totals) {
            const int first = panel * kPanelChannels;
            for (int r = rows.begin; r < rows.end; ++r, totals += kPanelChannels)
                for (int c = 0; c < kPanelChannels; c += kLanes)
                    store(unnormed_row(r) + first + c, load_floats(totals + c) * load_floats(w.scales(panel) + c) +
                                                           load_floats(call_.weights.down_bias + first + c) +
                                                           load_floats(hidden_row(r) + first + c));
        });
    }

    const BertCall& call_;
};

}  // namespace

void bert_layer(const BertCall& call) { run_layer<Worker>(call, kSharedRows); }

}  // namespace farthing::FT_ISA
