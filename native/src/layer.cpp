// One layer of an encoder on a packed batch, in one parallel region (layer_walk.h): what it is, its spec says.
//
// Norms stand before the halves: the rows that enter a product are normed, and what a half makes is added where the rows lie.
// Or behind the halves: a norm goes over the sum of the rows and what the half makes. Or on both sides of what a half makes,
// before it is added. Rows of int8 may be rotated on their way into a product (rotate.h).
#include <cmath>

#include "activation.h"
#include "exp2.h"
#include "gemm.h"
#include "isa.h"
#include "kv_store.h"
#include "layer_walk.h"
#include "norms.h"
#include "quantize.h"
#include "rope.h"
#include "rotate.h"

namespace farthing::FT_ISA {
namespace {

// Weights of a layer up to this size mostly lie in the L3 cache: threads that read them each for itself lose less than
// threads that meet.
constexpr int64_t kCachedWeightBytes = int64_t{13} << 20;
constexpr int kMostSharedRows = 32;  // then, however many rows a block has

template <class Numbers>
int shared_rows(const ft_layer_spec& spec) {
    const LayerShape shape(spec);
    const int64_t projections = shape.q_width() + 2 * shape.kv_width() + shape.q_width();
    const int64_t numbers = shape.hidden * (projections + int64_t{2 + spec.is_gated} * shape.intermediate);
    const int64_t bytes = numbers * (spec.form == FT_INT8 ? 1 : spec.form == FT_FP32 ? 4 : 2);
    return bytes > kCachedWeightBytes ? kTileRows : std::min(Numbers::kBlockRows, kMostSharedRows);
}

inline void widen_row(const uint16_t* from, int width, float* to) { load_bf16_row(from, width, to); }
inline void widen_row(const float* from, int width, float* to) { std::memcpy(to, from, width * sizeof *to); }

FT_INLINE void store_attended(uint16_t* to, Floats first, Floats second) { store_bf16(to, first, second); }
FT_INLINE void store_attended(float* to, Floats first, Floats second) {
    store(to, first);
    store(to + kLanes, second);
}

// A product of all or some of a tile's inputs: use(rows of the block, r, channel, 16 products) for the channels.
template <class Use>
void multiply_channels(const QuantizedTile& a, const PackedMatrix& w, Range channels, const float* bias, const void* then,
                       Use use) {
    if (channels.begin % kPanelChannels == 0 && channels.end % kPanelChannels == 0)
        multiply(a, w, panels_of(channels), bias, then, [&](Range rows, int r, int channel, Floats x, Floats y) FT_INLINED {
            use(rows, r, channel, x);
            use(rows, r, channel + kLanes, y);
        });
    else
        multiply(a, w, panels_of(channels), bias, then, by_halves(channels, use));
}

template <class Use>
void multiply_channels(const FloatTile& a, const FloatMatrix& w, Range channels, const float* bias, const void* then, Use use) {
    multiply(a, w, panels_of(channels), bias, then, by_halves(channels, use));
}

template <class Numbers>
class Worker : LayerWorker<Numbers> {
    using Base = LayerWorker<Numbers>;
    using Attended = typename Numbers::Attended;
    using Matrix = typename Numbers::Matrix;
    using Base::batch_, Base::bias_begins_, Base::entered_, Base::firsts_, Base::inner_, Base::limits_, Base::profile_,
        Base::rows_, Base::shape_, Base::team_, Base::tile_, Base::unnormed_, Base::walk_;
    using Base::meet, Base::query_row, Base::take_rows, Base::take_tokens, Base::text_of;

public:
    Worker(LayerWalk<Numbers>& walk, const LayerCall& call, int thread)
        : Base(walk, thread), call_(call), spec_(call.spec), weights_(call.weights) {}

    void run() {
        this->walk([this](Range tokens) { keys_values(tokens); }, [this](Range rows) { finish(rows); });
    }

private:
    Matrix matrix(const void* packed, int n, int k) const { return Numbers::matrix(spec_.form, packed, n, k); }
    Matrix qkv() const { return matrix(weights_.qkv, shape_.q_width() + 2 * shape_.kv_width(), shape_.hidden); }
    Matrix up() const { return matrix(weights_.up, (1 + spec_.is_gated) * shape_.intermediate, shape_.hidden); }
    Matrix down() const { return matrix(weights_.down, shape_.hidden, shape_.intermediate); }

    ft_norm attention_norm() const {
        return {spec_.norm, spec_.norm_eps, weights_.attention_norm_gain, weights_.attention_norm_bias};
    }
    ft_norm mlp_norm() const { return {spec_.norm, spec_.norm_eps, weights_.mlp_norm_gain, weights_.mlp_norm_bias}; }
    ft_norm attention_added() const {
        return {spec_.norm, spec_.norm_eps, weights_.attention_added_gain, weights_.attention_added_bias};
    }
    ft_norm mlp_added() const { return {spec_.norm, spec_.norm_eps, weights_.mlp_added_gain, weights_.mlp_added_bias}; }

    float* hidden_row(int r) const { return call_.hidden + static_cast<size_t>(rows_[r]) * shape_.hidden; }
    float* unnormed_row(int r) const { return unnormed_ + r * row_stride(shape_.hidden); }

    bool transforms_heads() const { return spec_.norms_heads || spec_.turns_heads; }
    HeadTransform transform(const float* gain) const {
        return {spec_.norms_heads ? gain : nullptr, spec_.turns_heads ? batch_.cos : nullptr, batch_.sin, spec_.head_norm_eps,
                shape_.head_dim};
    }

    // entered_ = the tile's rows as a half's first product reads them.
    void enter(const ft_norm& norm, int count) {
        const StageTimer timer(profile_, Stage::kNorm);
        fill_tile(entered_, count, shape_.hidden, [&](int r) {
            const float* row = hidden_row(r);
            if (!spec_.norms_sums && norm.gain) {
                norm_row(row, shape_.hidden, norm, tile_.row);
                row = tile_.row;
            }
            if (spec_.rotates_hidden) {
                rotate_row(row, shape_.hidden, tile_.row);
                row = tile_.row;
            }
            return row;
        });
    }

    size_t head_stride() const { return row_stride(shape_.heads_at_once() * shape_.head_dim); }

    // Calls use(head, its rows, which are head_stride() apart) for each head of a kind (queries, keys or values, whose
    // channels of qkv begin at `first_column`). The products are still in the L2 cache then.
    template <class Use>
    void for_each_head(int first_column, Range heads, Use use) {
        const size_t stride = head_stride();
        for (int head = heads.begin, end; head < heads.end; head = end) {
            end = std::min(heads.end, head + shape_.heads_at_once());
            {
                const StageTimer timer(profile_, Stage::kQkv);
                const Range channels{first_column + head * shape_.head_dim, first_column + end * shape_.head_dim};
                float* const to = tile_.head - channels.begin;
                multiply_channels(entered_, qkv(), channels, weights_.qkv_bias, nullptr,
                                  [=](Range, int r, int channel, Floats x) FT_INLINED { store(to + r * stride + channel, x); });
            }
            const StageTimer timer(profile_, Stage::kRope);
            for (int i = head; i < end; ++i) use(i, tile_.head + (i - head) * shape_.head_dim);
        }
    }

    void keys_values(Range tokens) {
        take_tokens(tokens);
        enter(attention_norm(), tokens.size());
        const Range heads = team_.part(shape_.kv_heads);
        const KvBuffers<Attended>& kv = walk_.scratch.kv;
        const size_t stride = head_stride();
        const HeadTransform transform = this->transform(weights_.k_norm);
        for_each_head(shape_.q_width(), heads, [&](int head, const float* rows) {
            float key_buffer[kMaxHeadDim];
            if (transforms_heads())
                store_keys(rows, stride, head, tokens, walk_.texts, kv, [&](const float* key, int position) {
                    transform_head(key, position, 1.0f, transform, key_buffer);
                    return key_buffer;
                });
            else
                store_keys(rows, stride, head, tokens, walk_.texts, kv, [](const float* key, int) { return key; });
        });
        for_each_head(shape_.q_width() + shape_.kv_width(), heads, [&](int head, const float* rows) {
            store_values(rows, stride, head, tokens, walk_.texts, kv);
        });
    }

    // Queries, attention, and everything behind it for some of the rows that go on.
    void finish(Range range) {
        const int count = range.size();
        take_rows(range);
        const Range heads = team_.part(shape_.kv_heads);
        enter(attention_norm(), count);
        take_limits(count);
        if (transforms_heads() || shape_.head_dim % kPanelChannels != 0)
            transformed_queries(count, heads);
        else
            plain_queries(heads);
        this->attention(count, heads, spec_.window > 0);
        meet();
        project(count);
        normalize(count, attention_norm(), attention_added());
        meet();
        mlp(count);
        normalize(count, mlp_norm(), mlp_added());
    }

    // Row r attends to the keys before position limits_[r], and with a window to those from firsts_[r] on.
    void take_limits(int count) {
        for (int r = 0; r < count; ++r) {
            const int text = text_of(r), num_keys = walk_.texts[text].size();
            const int position = walk_.scratch.kv.offset(text) + rows_[r] - walk_.texts[text].begin;
            limits_[r] = spec_.is_causal ? position + 1 : num_keys;
            bias_begins_[r] = batch_.bias_reach - position;
            if (spec_.window == 0) continue;
            firsts_[r] = std::max(0, position - spec_.window);
            if (!spec_.is_causal && spec_.window < num_keys - position) limits_[r] = position + spec_.window + 1;
        }
    }

    float query_scale() const {
        return spec_.query_scale > 0 ? kLog2E * spec_.query_scale : kLog2E / std::sqrt(static_cast<float>(shape_.head_dim));
    }

    void transformed_queries(int count, Range heads) {
        const int head_dim = shape_.head_dim, group = shape_.group();
        const float scale = query_scale();
        const HeadTransform transform = this->transform(weights_.q_norm);
        for_each_head(0, {heads.begin * group, heads.end * group}, [&](int head, const float* rows) {
            float query[kMaxHeadDim];
            for (int r = 0; r < count; ++r) {
                transform_head(rows + r * head_stride(), position_of(r), scale, transform, query);
                convert_row(query, head_dim, query_row(head / group, r) + head % group * head_dim);
            }
        });
    }

    int position_of(int r) const {
        const int text = text_of(r);
        return walk_.scratch.kv.offset(text) + rows_[r] - walk_.texts[text].begin;
    }

    // Heads that are whole panels and only scaled.
    void plain_queries(Range heads) {
        const StageTimer timer(profile_, Stage::kQkv);
        const int head_dim = shape_.head_dim, group = shape_.group();
        const float scale = query_scale();
        const Range channels{heads.begin * group * head_dim, heads.end * group * head_dim};
        multiply(entered_, qkv(), panels_of(channels), weights_.qkv_bias, nullptr,
                 [&](Range, int r, int channel, Floats x, Floats y) FT_INLINED {
                     const int head = channel / head_dim;
                     Attended* const to = query_row(head / group, r) + head % group * head_dim + channel % head_dim;
                     store_attended(to, x * scale, y * scale);
                 });
    }

    void project(int count) {
        {
            const StageTimer timer(profile_, Stage::kQuantize);
            const int width = shape_.group() * shape_.head_dim;
            fill_tile(entered_, count, shape_.q_width(), [&](int r) {
                for (int head = 0; head < shape_.kv_heads; ++head)
                    widen_row(query_row(head, r), width, tile_.row + head * width);
                if (spec_.rotates_attended) rotate_row(tile_.row, shape_.q_width(), tile_.row);
                return tile_.row;
            });
        }
        const StageTimer timer(profile_, Stage::kOutput);
        const Matrix w = matrix(weights_.o, shape_.hidden, shape_.q_width());
        add_products([&](auto add) {
            multiply_channels(entered_, w, own_channels(shape_.hidden), weights_.o_bias, nullptr,
                              [&](Range, int r, int channel, Floats x) FT_INLINED { add(r, channel, x); });
        });
    }

    // Of a product's output channels, those of this thread: whole panels, but for the last.
    Range own_channels(int total) const {
        const Range panels = team_.part(panels_of({0, total}).end);
        return {panels.begin * kPanelChannels, std::min(total, panels.end * kPanelChannels)};
    }

    // Calls multiply(add), where add(row of the tile, channel, products) brings a half's products to the residual.
    template <class Multiply>
    void add_products(Multiply multiply) {
        if (spec_.norms_sums)
            multiply([this](int r, int channel, Floats x) FT_INLINED {
                store(unnormed_row(r) + channel, load_floats(hidden_row(r) + channel) + x);
            });
        else if (spec_.norms_added)
            multiply([this](int r, int channel, Floats x) FT_INLINED { store(unnormed_row(r) + channel, x); });
        else
            add_to_residual(multiply);
    }
    template <class Multiply>
    void add_to_residual(Multiply multiply) {
        multiply([this](int r, int channel, Floats x) FT_INLINED {
            float* const to = hidden_row(r) + channel;
            store(to, load_floats(to) + x);
        });
    }

    // Where norms go over sums, or over what is added: the rows of `hidden` from the tile's, each by one thread.
    void normalize(int count, const ft_norm& of_sums, const ft_norm& of_added) {
        if (!spec_.norms_sums && !spec_.norms_added) return;
        meet();
        const StageTimer timer(profile_, Stage::kNorm);
        const Range own = team_.part(count);
        for (int r = own.begin; r < own.end; ++r) {
            float *const row = unnormed_row(r), *const to = hidden_row(r);
            if (spec_.norms_sums) {
                norm_row(row, shape_.hidden, of_sums, to);
                continue;
            }
            norm_row(row, shape_.hidden, of_added, row);
            for (int c = 0; c < shape_.hidden; c += kLanes) store(to + c, load_floats(to + c) + load_floats(row + c));
        }
    }

    void mlp(int count) {
        enter(mlp_norm(), count);
        constexpr bool kExact = Numbers::kIsExact;
        switch (spec_.activation) {
            case FT_GELU: mlp_with(count, Gelu<kExact>()); break;
            case FT_GELU_TANH: mlp_with(count, GeluTanh<kExact>()); break;
            default: mlp_with(count, Silu<kExact>());
        }
    }

    template <class Activation>
    void mlp_with(int count, Activation activation) {
        if constexpr (Numbers::kIsExact)
            exact_mlp(count, activation);
        else
            int8_mlp(count, activation);
    }

    // The MLP's inner rows in some of its channels: place(rows of the block, r, channel) is where 16 of them go.
    template <class Activation, class Place>
    void inner_channels(Range channels, const void* then, Activation activation, Place place) {
        const StageTimer timer(profile_, Stage::kGateUp);
        const auto activate = [&](Range rows, int r, int channel, Floats x) FT_INLINED {
            store(place(rows, r, channel), activation(x));
        };
        if (!spec_.is_gated)
            multiply_channels(entered_, up(), channels, weights_.up_bias, then, activate);
        else if (shape_.intermediate % kPanelChannels == 0)
            multiply_pairs(entered_, up(), panels_of(channels), shape_.intermediate / kPanelChannels, weights_.up_bias,
                           [&](Range rows, int r, int channel, Floats gate, Floats up) FT_INLINED {
                               store(place(rows, r, channel), activation(gate) * up);
                           });
        else
            gate_then_up(channels, then, activate, place);
    }

    // Where the channels of gate and up do not begin at the same place of a panel.
    template <class Activate, class Place>
    void gate_then_up(Range channels, const void* then, Activate activate, Place place) {
        const Matrix w = up();
        const int gate_channels = shape_.intermediate;
        const Range up_channels{gate_channels + channels.begin, gate_channels + channels.end};
        multiply_channels(entered_, w, channels, weights_.up_bias, w.panel(panels_of(up_channels).begin), activate);
        multiply_channels(entered_, w, up_channels, weights_.up_bias, then, [&](Range rows, int r, int channel, Floats x) FT_INLINED {
            float* const to = place(rows, r, channel - gate_channels);
            store(to, load_floats(to) * x);
        });
    }

    // inner_ = the inner rows in int8: a group of kGroupInputs channels at a time, while it is in the L2 cache.
    template <class Activation>
    void int8_mlp(int count, Activation activation) {
        inner_.shape(count, shape_.intermediate, Numbers::kBlockRows);
        const Range groups = team_.part(inner_.num_groups());
        for (int group = groups.begin; group < groups.end; ++group) {
            const Range channels{group * kGroupInputs, std::min((group + 1) * kGroupInputs, shape_.intermediate)};
            float* const buffer = tile_.group;
            inner_channels(channels, up().panel(panels_of(channels).end), activation, [=](Range, int r, int channel) FT_INLINED {
                return buffer + r * kGroupStride + channel - channels.begin;
            });
            const StageTimer timer(profile_, Stage::kGateUp);
            quantize_group(buffer, kGroupStride, group, channels.size(), spec_.rotates_inner, inner_);
        }
        meet();
        const StageTimer timer(profile_, Stage::kDown);
        if (weights_.down_bias)
            int8_down<true>();
        else
            int8_down<false>();
    }

    template <bool kBias>
    void int8_down() {
        const Matrix w = down();
        const Range channels = own_channels(shape_.hidden);
        add_products([&](auto add) {
            gemm_groups(inner_, w, panels_of(channels), [&](int panel, Range rows, const float* totals) {
                for (int r = rows.begin; r < rows.end; ++r, totals += kPanelChannels)
                    for (int c = 0; c < kPanelChannels; c += kLanes) {
                        const int channel = panel * kPanelChannels + c;
                        if (channel >= channels.end) break;
                        const Floats x = load_floats(totals + c) * load_floats(w.scales(panel) + c);
                        if constexpr (kBias)
                            add(r, channel, x + load_floats(weights_.down_bias + channel));
                        else
                            add(r, channel, x);
                    }
            });
        });
    }

    // A slice of kSliceChannels inner channels at a time goes through both products. Threads that share a tile make all inner
    // rows first, so that they meet once; what is added is the same, slice by slice.
    template <class Activation>
    void exact_mlp(int count, Activation activation) {
        const int inner = shape_.intermediate;
        const bool is_shared = team_.size > 1;
        if (is_shared) {
            inner_.shape(count, inner, Numbers::kBlockRows);
            const Range channels = own_channels(inner);
            if (channels.size() > 0)
                inner_channels(channels, nullptr, activation, [&](Range rows, int r, int channel) FT_INLINED {
                    return inner_.at(rows, r, channel / kChunkFloats);
                });
            meet();
        }
        for (int begin = 0; begin < inner; begin += kSliceChannels) {
            const Range slice{begin, std::min(begin + kSliceChannels, inner)};
            if (!is_shared) {
                inner_.shape(count, slice.size(), Numbers::kBlockRows);
                inner_channels(slice, down().panel(0, begin), activation, [&](Range rows, int r, int channel) FT_INLINED {
                    return inner_.at(rows, r, (channel - begin) / kChunkFloats);
                });
            }
            exact_down(slice, is_shared ? 0 : begin);
        }
    }

    // What the inner channels of the slice contribute; the inner rows begin with channel `inner_begin`.
    void exact_down(Range slice, int inner_begin) {
        const StageTimer timer(profile_, Stage::kDown);
        const Matrix w = down();
        const Range channels = own_channels(shape_.hidden);
        const auto multiply_slice = [&](auto add) {
            const auto use = by_halves(channels, [&](Range, int r, int channel, Floats x) FT_INLINED { add(r, channel, x); });
            const void* const then = up().panel(slice.end / kPanelChannels);
            if (weights_.down_bias && slice.begin == 0)
                multiply_inputs_with<true>(inner_, inner_begin, w, slice, panels_of(channels), weights_.down_bias, then, use);
            else
                multiply_inputs_with<false>(inner_, inner_begin, w, slice, panels_of(channels), nullptr, then, use);
        };
        if (slice.begin == 0)
            add_products(multiply_slice);
        else if (spec_.norms_sums || spec_.norms_added)
            multiply_slice([this](int r, int channel, Floats x) FT_INLINED {
                float* const to = unnormed_row(r) + channel;
                store(to, load_floats(to) + x);
            });
        else
            add_to_residual(multiply_slice);
    }

    const LayerCall& call_;
    const ft_layer_spec& spec_;
    const ft_layer_weights& weights_;
};

}  // namespace

void layer(const LayerCall& call) {
    if (call.spec.form == FT_INT8)
        run_layer<Worker<Int8Numbers>, Int8Numbers>(call, shared_rows<Int8Numbers>(call.spec));
    else
        run_layer<Worker<FloatNumbers>, FloatNumbers>(call, shared_rows<FloatNumbers>(call.spec));
}

size_t layer_scratch_bytes(const ft_layer_spec& spec, int num_tokens, int num_texts, int num_threads) {
    const auto bytes = spec.form == FT_INT8 ? LayerWalk<Int8Numbers>::scratch_bytes : LayerWalk<FloatNumbers>::scratch_bytes;
    return bytes(LayerShape(spec), num_tokens, num_texts, num_threads);
}

}  // namespace farthing::FT_ISA
