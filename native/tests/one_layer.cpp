// One layer of MiniLM's shape (hidden 384, 12 heads of 32, intermediate 1536) on 128 tokens, on one thread: what an emulator
// counts instructions of. Prints how long the fastest call took.
//
//     one_layer ISA REPEATS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "../include/farthing_native.h"

namespace {

constexpr int kHidden = 384, kIntermediate = 1536, kTokens = 128;
constexpr ft_layer_spec kSpec{kHidden, kIntermediate, 12, 12, 32, FT_INT8, FT_LAYER_NORM, 1, 0, 0, 0, 0, 0, 0, FT_GELU, 1, 1, 1, 1e-12f, 0, 0};

void* block(size_t bytes) {
    void* const memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) std::abort();
    return std::memset(memory, 0, bytes);
}

std::vector<float> random_floats(size_t count, float deviation) {
    static std::mt19937 engine(1);
    std::normal_distribution<float> normal(0.0f, deviation);
    std::vector<float> values(count);
    for (float& value : values) value = normal(engine);
    return values;
}

void* random_matrix(ft_pool* pool, int n, int k) {
    void* const packed = block(ft_packed_bytes(FT_INT8, n, k));
    const std::vector<float> rows = random_floats(static_cast<size_t>(n) * k, 0.05f);
    if (ft_pack_rows(pool, FT_INT8, rows.data(), FT_FLOAT32, n, k, packed) != FT_OK) std::abort();
    return packed;
}

}  // namespace

int main(int argc, char** argv) {
    ft_pool* pool = nullptr;
    if (argc != 3 || ft_pool_create(1, argv[1], &pool) != FT_OK) return 2;
    const std::vector<float> ones(kHidden, 1.0f), zeros(kIntermediate);
    ft_layer_weights weights{};
    weights.qkv = random_matrix(pool, 3 * kHidden, kHidden), weights.o = random_matrix(pool, kHidden, kHidden);
    weights.up = random_matrix(pool, kIntermediate, kHidden), weights.down = random_matrix(pool, kHidden, kIntermediate);
    weights.qkv_bias = weights.o_bias = weights.up_bias = weights.down_bias = zeros.data();
    weights.attention_norm_gain = weights.mlp_norm_gain = ones.data();
    weights.attention_norm_bias = weights.mlp_norm_bias = zeros.data();
    const ft_layer_weights* const layer = &weights;
    const int32_t cu_seqlens[] = {0, kTokens};
    ft_batch batch{};
    batch.num_tokens = kTokens, batch.num_texts = 1, batch.cu_seqlens = cu_seqlens;
    const size_t bytes = ft_layer_scratch_bytes(pool, &kSpec, kTokens, 1);
    void* const scratch = block(bytes);
    std::vector<float> hidden = random_floats(kTokens * kHidden, 1.0f);
    double fastest = 1e9;
    for (int i = std::atoi(argv[2]); i > 0; --i) {
        const auto begin = std::chrono::steady_clock::now();
        if (ft_layers(pool, &kSpec, &layer, 1, &batch, hidden.data(), scratch, bytes) != FT_OK) return 1;
        fastest = std::min(fastest, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    std::printf("%.1f us\n", 1e6 * fastest);
    return 0;
}
