// Calls the C interface as hard as it can on tiny shapes, for the sanitizers to watch.
//
// Every instruction set of this CPU, teams of 1 to 4 threads (more than some machines have cores): teams made and ended
// with and without work, calls from several threads in turn, calls so far apart that the team has gone to sleep. Every
// result must be bit for bit that of one thread; of int8 products and NF4 bit for bit that of the portable code, and of layers
// near to it. Exits with 1 when one is not, and prints which. Blocks of keys and values are exactly as long as they must be.
// With an argument, it calls everything once for each number of threads: an emulator is slow.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "../include/farthing_native.h"

namespace {

constexpr const char* kIsas[] = {"portable", "avx2", "avxvnni", "avx512vnni", "avx512bf16", "amx", "neon_dotprod", "neon_i8mm"};
// Of layers' results. Attention is in bf16, which instruction sets round at different places, and a row that differs a little may
// be quantised one step off.
constexpr double kLayerTolerance = 0.02;
constexpr int kMaxThreads = 4;
constexpr int kMostHidden = 80, kMostHeadDim = 80, kMostChannels = 1200;
// Norms before the halves, heads normed and turned, causal, gated; and norms behind the halves, seen from both sides.
constexpr ft_layer_spec kBefore{64, 128, 2, 1, 32, FT_INT8, FT_RMS_NORM, 0, 0, 1, 1, 1, 0, 1, FT_SILU, 0, 0, 1, 1e-6f, 1e-6f, 0};
constexpr ft_layer_spec kBehind{64, 128, 2, 2, 32, FT_INT8, FT_LAYER_NORM, 1, 0, 0, 0, 0, 0, 0, FT_GELU, 1, 1, 1, 1e-6f, 1e-6f, 0};
// Widths that are no whole panels, and in exact forms inner channels of more than a slice.
constexpr ft_layer_spec kOdd{48, 80, 3, 3, 80, FT_INT8, FT_LAYER_NORM, 0, 0, 1, 0, 1, 0, 1, FT_GELU_TANH, 0, 0, 0, 1e-6f, 1e-6f, 0};
constexpr ft_layer_spec kFp32{80, 560, 4, 2, 48, FT_FP32, FT_RMS_NORM, 0, 0, 1, 1, 1, 0, 1, FT_SILU, 0, 0, 0, 1e-6f, 1e-6f, 0};
constexpr ft_layer_spec kBf16{64, 96, 4, 2, 16, FT_BF16, FT_LAYER_NORM, 1, 0, 0, 1, 1, 0, 0, FT_GELU, 0, 0, 0, 1e-6f, 1e-6f, 0};
constexpr ft_layer_spec kFp16{48, 64, 2, 2, 64, FT_FP16, FT_RMS_NORM, 1, 0, 0, 0, 0, 0, 0, FT_GELU, 0, 0, 0, 1e-6f, 1e-6f, 0};
// Norms on both sides, windows, and products that depend on the distance.
constexpr ft_layer_spec kBoth{64, 128, 4, 1, 64, FT_INT8, FT_RMS_NORM, 0, 1, 1, 1, 0, 20, 1, FT_GELU_TANH, 1, 0, 1, 1e-6f, 1e-6f, 0.2f};
constexpr ft_layer_spec kWindow{48, 64, 2, 2, 32, FT_FP32, FT_LAYER_NORM, 0, 1, 0, 1, 1, 33, 1, FT_GELU, 0, 0, 0, 1e-6f, 1e-6f, 0};
constexpr const ft_layer_spec* kSpecs[] = {&kBefore, &kBehind, &kOdd, &kFp32, &kBf16, &kFp16, &kBoth, &kWindow};

void require(bool holds, const char* what, const char* isa, int num_threads) {
    if (holds) return;
    std::fprintf(stderr, "%s: %s, %d threads\n", what, isa, num_threads);
    std::exit(1);
}

struct Free {
    void operator()(void* block) const { std::free(block); }
};
using Block = std::unique_ptr<char, Free>;

// Aligned as the interface wants it, and exactly as long as asked, so that a byte too far is seen.
Block block(size_t bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes) != 0) std::abort();
    std::memset(memory, 0, bytes);
    return Block(static_cast<char*>(memory));
}

std::vector<float> random_floats(size_t count) {
    static std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(engine);
    return values;
}

// Rows that quantising leaves as they are: it rounds once less where there is FMA, as adding a bias does.
std::vector<float> random_steps(int rows, int k) {
    static std::mt19937 engine(2);
    std::uniform_int_distribution<int> steps(-127, 127);
    std::vector<float> values(static_cast<size_t>(rows) * k);
    for (size_t i = 0; i < values.size(); ++i) values[i] = i % k ? static_cast<float>(steps(engine)) : 127.0f;
    return values;
}

struct Pool {
    Pool(int num_threads, const char* isa) : isa(isa), num_threads(num_threads) {
        require(ft_pool_create(num_threads, isa, &pool) == FT_OK, "ft_pool_create", isa, num_threads);
    }
    ~Pool() { ft_pool_destroy(pool); }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    ft_pool* pool = nullptr;
    const char* const isa;
    const int num_threads;
};

Block random_matrix(int form, int n, int k) {
    const Pool team(2, "portable");
    Block packed = block(ft_packed_bytes(form, n, k));
    const std::vector<float> rows = random_floats(static_cast<size_t>(n) * k);
    require(ft_pack_rows(team.pool, form, rows.data(), FT_FLOAT32, n, k, packed.get()) == FT_OK, "ft_pack_rows", "portable", 2);
    return packed;
}

struct Linear {
    Linear(int form, int num_tokens, int n, int k)
        : Linear(form, num_tokens, n, k, random_floats(static_cast<size_t>(num_tokens) * k), random_floats(n)) {}
    Linear(int form, int num_tokens, int n, int k, std::vector<float> x, std::vector<float> bias)
        : form(form), num_tokens(num_tokens), n(n), k(k), x(std::move(x)), bias(std::move(bias)),
          packed(random_matrix(form, n, k)) {}

    std::vector<float> run(const Pool& team) const {
        const size_t bytes = ft_linear_scratch_bytes(team.pool, form, n, k);
        const Block scratch = block(bytes);
        std::vector<float> y(static_cast<size_t>(num_tokens) * n);
        const int status = ft_linear(team.pool, form, x.data(), num_tokens, packed.get(), n, k,
                                     bias.empty() ? nullptr : bias.data(), y.data(), scratch.get(), bytes);
        require(status == FT_OK, "ft_linear", team.isa, team.num_threads);
        return y;
    }

    const int form, num_tokens, n, k;
    const std::vector<float> x, bias;
    const Block packed;
};

// To NF4 and on to int8, with and without a last panel and a last block that are not whole.
struct Nf4 {
    Nf4(int n, int k) : n(n), k(k), rows(random_floats(static_cast<size_t>(n) * k)) {}

    std::vector<float> run(const Pool& team) const {
        const size_t padded_n = (n + 31) / 32 * 32, padded_k = (k + 63) / 64 * 64;
        const size_t nf4_bytes = (padded_n * padded_k / 2 + padded_n * sizeof(float) + padded_n * padded_k / 64 + 63) / 64 * 64;
        const size_t packed_bytes = ft_packed_bytes(FT_INT8, n, k);
        const Block nf4 = block(nf4_bytes), packed = block(packed_bytes);
        const float candidates[] = {1.0f, 0.9f};
        require(ft_pack_nf4(team.pool, rows.data(), FT_FLOAT32, n, k, candidates, 2, nf4.get()) == FT_OK, "ft_pack_nf4",
                team.isa, team.num_threads);
        require(ft_unpack_nf4(team.pool, nf4.get(), n, k, packed.get()) == FT_OK, "ft_unpack_nf4", team.isa,
                team.num_threads);
        return {packed.get(), packed.get() + packed_bytes};
    }

    const int n, k;
    const std::vector<float> rows;
};

// Packed texts; with `keep_last` only the last token of each goes on after attention.
struct Texts {
    Texts(const std::vector<int>& lengths, bool keep_last) : cu_seqlens{0} {
        int longest = 0;
        for (const int length : lengths) {
            cu_seqlens.push_back(cu_seqlens.back() + length);
            longest = std::max(longest, length);
            if (keep_last) keep.push_back(cu_seqlens.back() - 1);
        }
        cos = random_floats(static_cast<size_t>(longest) * kMostHeadDim / 2);
        hidden = random_floats(static_cast<size_t>(cu_seqlens.back()) * kMostHidden);
        batch = {cu_seqlens.back(), static_cast<int32_t>(lengths.size()), cu_seqlens.data(), cos.data(), cos.data(),
                 longest, nullptr, 0, static_cast<int32_t>(keep.size()), keep.empty() ? nullptr : keep.data(), nullptr};
    }
    Texts(const Texts&) = delete;

    std::vector<int32_t> cu_seqlens, keep;
    std::vector<float> cos, hidden;
    ft_batch batch;
};

// Keys and values of so many tokens, as a call may know them.
Block random_keys(const ft_layer_spec& spec, int num_tokens) {
    const size_t bytes = ft_layer_kv_bytes(&spec, num_tokens), number_bytes = spec.form == FT_INT8 ? 2 : 4;
    Block kv = block(bytes);
    const std::vector<float> values = random_floats(bytes / number_bytes);
    for (size_t i = 0; i < values.size(); ++i)
        std::memcpy(kv.get() + number_bytes * i, reinterpret_cast<const char*>(&values[i] + 1) - number_bytes, number_bytes);
    return kv;
}

// Texts as segments that see their parents; the first, which has none, is stored. -2: a known parent.
struct Forest : Texts {
    Forest(const std::vector<int>& lengths, const std::vector<int32_t>& parents, bool keep_last)
        : Texts(lengths, keep_last), first_tokens(lengths[0]) {
        const int num_texts = static_cast<int>(lengths.size());
        for (int text = 0; text < num_texts; ++text) {
            const int32_t parent = parents[text];
            offsets.push_back(parent == -2 ? kKnownTokens : parent < 0 ? 0 : offsets[parent] + lengths[parent]);
            this->parents.push_back(parent == -2 ? num_texts : parent);
            batch.rope_positions = std::max(batch.rope_positions, offsets[text] + lengths[text]);
        }
        cos = random_floats(static_cast<size_t>(batch.rope_positions) * kMostHeadDim / 2);
        batch.cos = batch.sin = cos.data();
    }

    static constexpr int kHeldTokens = 70, kKnownTokens = 45;
    const int first_tokens;
    std::vector<int32_t> parents, offsets;
};

// `num_layers` times the same layer, in one call.
struct Layers {
    Layers(const ft_layer_spec& spec, const Texts& texts, int num_layers = 1) : spec(spec), texts(texts), num_layers(num_layers) {}

    ft_layer_weights weights() const {
        const float* const ones = gain.data();
        const float* const biases = spec.norm == FT_LAYER_NORM ? bias.data() : nullptr;
        ft_layer_weights weights{};
        weights.qkv = qkv.get(), weights.o = o.get(), weights.up = up.get(), weights.down = down.get();
        weights.qkv_bias = weights.o_bias = weights.up_bias = weights.down_bias = biases;
        weights.attention_norm_gain = weights.mlp_norm_gain = weights.q_norm = weights.k_norm = ones;
        weights.attention_norm_bias = weights.mlp_norm_bias = biases;
        weights.attention_added_gain = weights.mlp_added_gain = ones;
        return weights;
    }

    std::vector<float> run(const Pool& team, const ft_prefixes* prefixes = nullptr) const {
        const ft_layer_weights weights = this->weights();
        const std::vector<const ft_layer_weights*> layers(num_layers, &weights);
        ft_batch batch = texts.batch;
        batch.prefixes = prefixes;
        if (spec.window > 0 && !spec.is_causal) batch.distance_bias = distance_bias.data(), batch.bias_reach = kReach;
        const size_t bytes = ft_layer_scratch_bytes(team.pool, &spec, batch.num_tokens, batch.num_texts);
        const Block scratch = block(bytes);
        const auto first = texts.hidden.begin();
        std::vector<float> result(first, first + static_cast<size_t>(batch.num_tokens) * spec.hidden);
        const int status =
            ft_layers(team.pool, &spec, layers.data(), num_layers, &batch, result.data(), scratch.get(), bytes);
        require(status == FT_OK, "ft_layers", team.isa, team.num_threads);
        return result;
    }

    const ft_layer_spec& spec;
    const Texts& texts;
    const int num_layers;
    const Block qkv = random_matrix(spec.form, (spec.q_heads + 2 * spec.kv_heads) * spec.head_dim, spec.hidden);
    const Block o = random_matrix(spec.form, spec.hidden, spec.q_heads * spec.head_dim);
    const Block up = random_matrix(spec.form, (1 + spec.is_gated) * spec.intermediate, spec.hidden);
    const Block down = random_matrix(spec.form, spec.hidden, spec.intermediate);
    const std::vector<float> gain = std::vector<float>(kMostHidden, 1.0f), bias = random_floats(kMostChannels);
    static constexpr int kReach = 2048;
    const std::vector<float> distance_bias = random_floats(static_cast<size_t>(spec.q_heads) * (2 * kReach + 32));
};

// From ids to rows: what stands before, between and behind the layers.
struct Pass {
    Pass(const ft_layer_spec& spec, const Texts& texts) : layer(spec, texts) {
        for (int token = 0; token < texts.batch.num_tokens; ++token) ids.push_back(token % kVocabulary);
    }

    std::vector<float> run(const Pool& team) const {
        const int hidden = layer.spec.hidden, left = hidden / kRight;
        const ft_rotation rotation{left, kRight, matrix.data(), matrix.data(), matrix.data()};
        const ft_norm norm{FT_LAYER_NORM, 1e-6f, layer.gain.data(), layer.bias.data()};
        const ft_input input{table.data(), FT_FLOAT32, kVocabulary, 2.0f, table.data(), kVocabulary, table.data(), 1, &norm,
                             &rotation};
        const ft_layer_weights weights = layer.weights();
        const ft_batch& batch = layer.texts.batch;
        const ft_layer one{&layer.spec, &weights, batch.cos, batch.sin, batch.rope_positions, nullptr, 0, nullptr};
        const ft_layer layers[] = {one, one};
        ft_pass pass{};
        pass.input = &input, pass.ids = pass.positions = ids.data();
        pass.num_tokens = batch.num_tokens, pass.num_texts = batch.num_texts, pass.cu_seqlens = batch.cu_seqlens;
        pass.num_layers = 2, pass.layers = layers, pass.num_keep = batch.num_keep, pass.keep = batch.keep;
        pass.last_norm = &norm, pass.last_rotation = &rotation, pass.takes_means = !batch.keep;
        const size_t bytes = ft_run_scratch_bytes(team.pool, &pass);
        const Block scratch = block(bytes);
        std::vector<float> rows(static_cast<size_t>(batch.keep ? batch.num_keep : batch.num_texts) * hidden);
        require(ft_run(team.pool, &pass, rows.data(), scratch.get(), bytes) == FT_OK, "ft_run", team.isa, team.num_threads);
        return rows;
    }

    static constexpr int kVocabulary = 50, kRight = 8;
    const Layers layer;
    const std::vector<float> table = random_floats(kVocabulary * kMostHidden), matrix = random_floats(kMostHidden * kRight);
    std::vector<int32_t> ids;
};

// Rows that are rotated by whole matrices, and by Hadamard's.
struct Rotations {
    std::vector<float> run(const Pool& team) const {
        const ft_rotation rotation{kLeft, kRight, matrix.data(), matrix.data(), matrix.data()};
        const size_t bytes = ft_rotate_scratch_bytes(team.pool, &rotation);
        const Block scratch = block(bytes);
        std::vector<float> result = rows;
        for (const int inverse : {0, 1})
            require(ft_rotate_rows(team.pool, &rotation, inverse, result.data(), kRows, result.data(), scratch.get(), bytes) ==
                        FT_OK, "ft_rotate_rows", team.isa, team.num_threads);
        const int status = ft_hadamard_rows(team.pool, result.data(), kRows * kLeft * kRight / 64, 64);
        require(status == FT_OK, "ft_hadamard_rows", team.isa, team.num_threads);
        return result;
    }

    static constexpr int kRows = 13, kLeft = 16, kRight = 20;
    const std::vector<float> rows = random_floats(kRows * kLeft * kRight), matrix = random_floats(kRight * kRight);
};

struct SharedPrefixes {
    SharedPrefixes(const ft_layer_spec& spec, const Forest& forest)
        : forest(forest), layer(spec, forest), held(random_keys(spec, Forest::kHeldTokens)),
          stored_bytes(ft_layer_kv_bytes(&spec, forest.first_tokens)) {}

    std::vector<float> run(const Pool& team) const {
        const Block kv = block(stored_bytes);
        std::vector<void*> stored(forest.parents.size());
        stored[0] = kv.get();
        const ft_known known{held.get(), 96, Forest::kKnownTokens};
        const ft_prefixes prefixes{forest.parents.data(), forest.offsets.data(), 1, &known, stored.data()};
        std::vector<float> result = layer.run(team, &prefixes);
        result.insert(result.end(), kv.get(), kv.get() + stored_bytes);
        return result;
    }

    const Forest& forest;
    const Layers layer;
    const Block held;
    const size_t stored_bytes;
};

template <class Call>
void hammer(const char* name, const Call& call, const char* isa, int rounds) {
    const std::vector<float> expected = call.run(Pool(1, isa));
    for (int num_threads = 2; num_threads <= kMaxThreads; ++num_threads) {
        const Pool team(num_threads, isa);
        for (int round = 0; round < rounds; ++round) {
            require(call.run(team) == expected, name, isa, num_threads);
            if (round % 4 == 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the team goes to sleep
        }
    }
}

// Each number of rows that a block can have, and sums that go on from one group of 256 inputs to the next.
void compare_products(const char* isa) {
    const Pool team(1, isa), portable(1, "portable");
    for (const int k : {70, 320, 1100})
        for (int num_tokens = 1; num_tokens <= 64; ++num_tokens) {
            const Linear linear(FT_INT8, num_tokens, 40, k, random_steps(num_tokens, k), {});
            require(linear.run(team) == linear.run(portable), "products differ from the portable ones", isa, 1);
        }
    for (const Nf4& nf4 : {Nf4(128, 320), Nf4(70, 65)})
        require(nf4.run(team) == nf4.run(portable), "NF4 differs from the portable one", isa, 1);
}

template <class Call>
void compare_layers(const Call& call, const char* isa) {
    const std::vector<float> found = call.run(Pool(1, isa)), expected = call.run(Pool(1, "portable"));
    double squares = 0.0, errors = 0.0;
    for (size_t i = 0; i < expected.size(); ++i) {
        squares += static_cast<double>(expected[i]) * expected[i];
        errors += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    }
    const double error = std::sqrt(errors / squares);
    std::printf("%s: layers differ by %.2g of their length\n", isa, error);
    require(error <= kLayerTolerance, "layers differ from the portable ones", isa, 1);
}

void call_from_several_threads(const Linear& linear, const Layers& layer, const char* isa) {
    const Pool team(3, isa);
    std::mutex turn;
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 3; ++caller)
        callers.emplace_back([&] {
            for (int round = 0; round < 20; ++round) {
                if (round % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the team sleeps, too
                ft_pool_rouse(team.pool);
                const std::lock_guard<std::mutex> lock(turn);
                linear.run(team);
                layer.run(team);
            }
        });
    for (std::thread& caller : callers) caller.join();
}

bool has(const char* isa) {
    ft_pool* pool = nullptr;
    if (ft_pool_create(1, isa, &pool) != FT_OK) return false;
    ft_pool_destroy(pool);
    return true;
}

}  // namespace

int main(int argc, char**) {
    const bool brief = argc > 1;
    const Linear few_rows(FT_INT8, 5, 96, 70), tiles(FT_INT8, 400, 64, 64), exact_tiles(FT_BF16, 400, 33, 70);
    const Rotations rotations;
    const Nf4 whole(128, 320), ragged(70, 65);
    const Texts one_text({7}, false), one_tile({3, 1, 60}, true), long_texts({200, 1, 140, 300}, false),
        last_tokens({200, 1, 140, 300}, true);
    const Forest few_segments({21, 12, 1, 30}, {-1, 0, 1, -2}, false);
    const Forest segments({33, 300, 1, 1, 40, 140, 31}, {-1, 0, 1, 2, -2, 4, 3}, false);
    const Forest last_of_segments({33, 300, 1, 1, 40, 140, 31}, {-1, 0, 1, 2, -2, 4, 3}, true);
    const auto rounds = [brief](int all) { return brief ? 1 : all; };
    for (const char* isa : kIsas) {
        if (!has(isa)) continue;
        compare_products(isa);
        for (const Texts* texts : {&one_text, &one_tile, &long_texts, &last_tokens}) {
            for (const ft_layer_spec* spec : kSpecs) compare_layers(Layers(*spec, *texts), isa);
        }
        for (int round = 0; round < rounds(50); ++round) Pool(1 + round % kMaxThreads, isa);
        for (int round = 0; round < rounds(20); ++round) few_rows.run(Pool(1 + round % kMaxThreads, isa));
        hammer("few rows", few_rows, isa, rounds(40));
        hammer("tiles", tiles, isa, rounds(20));
        hammer("exact tiles", exact_tiles, isa, rounds(20));
        hammer("rotations", rotations, isa, rounds(20));
        hammer("nf4", whole, isa, rounds(20));
        hammer("nf4, ragged", ragged, isa, rounds(20));
        for (const Texts* texts : {&one_text, &one_tile, &long_texts, &last_tokens}) {
            const int some = rounds(texts->batch.num_tokens > 100 ? 10 : 40);
            for (const ft_layer_spec* spec : kSpecs) hammer("a layer", Layers(*spec, *texts), isa, some);
            for (const ft_layer_spec* spec : {&kBefore, &kFp32}) hammer("a pass", Pass(*spec, *texts), isa, some);
            if (!texts->batch.keep) hammer("three layers", Layers(kBehind, *texts, 3), isa, some);
        }
        for (const Forest* forest : {&few_segments, &segments, &last_of_segments})
            for (const ft_layer_spec* spec : {&kBefore, &kFp32, &kBf16})
                hammer("shared prefixes", SharedPrefixes(*spec, *forest), isa, rounds(forest->batch.num_tokens > 100 ? 10 : 40));
        if (!brief) call_from_several_threads(few_rows, Layers(kBefore, one_tile), isa);
        std::printf("%s\n", isa);
    }
    return 0;
}
