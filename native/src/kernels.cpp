// What a build for one instruction set exports, and how fast its multiplications can be at all.
#include <chrono>

#include "blocks.h"
#include "blocks_float.h"
#include "isa.h"

#define FT_TEXT_OF(name) #name
#define FT_TEXT(name) FT_TEXT_OF(name)

namespace farthing::FT_ISA {

size_t linear_scratch_bytes(int form, int k, int num_threads);
void linear(const LinearCall& call);
size_t layer_scratch_bytes(const ft_layer_spec& spec, int num_tokens, int num_texts, int num_threads);
void layer(const LayerCall& call);
void pack(const PackCall& call);
void pack_nf4(const PackNf4Call& call);
void unpack_nf4(const UnpackNf4Call& call);
size_t rotate_scratch_bytes(const ft_rotation& rotation, int num_threads);
void rotate_rows(const RotateCall& call);
void hadamard_rows(ThreadPool& pool, float* rows, int64_t num_rows, int width);
void embed(const EmbedCall& call);
void finish(const FinishCall& call);

namespace {

// Of a block so short that all of its operands stay in the L1 cache.
template <class Multiply>
double ops_of(int rows, int inputs, Multiply multiply) {
    constexpr int kRepeats = 20000;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kRepeats; ++i) multiply();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    return 2.0 * rows * kPanelChannels * inputs * kRepeats / seconds.count();
}

// What is multiplied is not const: zeros that are take room in the library's file.
double int8_peak_ops() {
    constexpr int kChunks = 8;
    alignas(64) static Input a[kBlockRows * kChunks * kChunkBytes] = {};
    alignas(64) static int8_t b[kPanelChannels * kChunks * kChunkBytes] = {};
    alignas(64) static int32_t starts[kPanelChannels] = {};
    alignas(64) int32_t sums[kBlockRows * kPanelChannels];
    return ops_of(kBlockRows, kChunks * kChunkBytes,
                  [&] { int8_block(kBlockRows, kChunks, a, b, starts, {b, kChunks, 0, 8}, sums); });
}

double float_peak_ops() {
    constexpr int kInputs = 128;
    alignas(64) static float a[kFloatBlockRows * kInputs] = {};
    alignas(64) static float b[kPanelChannels * kInputs] = {};
    alignas(64) float sums[kFloatBlockRows * kPanelChannels];
    const FloatBlock block = float_block(FT_FP32);
    return ops_of(kFloatBlockRows, kInputs,
                  [&] { block(kFloatBlockRows, kInputs, a, b, kPanelChannels, false, Prefetch(), sums); });
}

double peak_ops(int form) {
    const Multiplying multiplying;
    return form == FT_INT8 ? int8_peak_ops() : float_peak_ops();
}

}  // namespace

const Kernels& kernels() {
    static constexpr Kernels kernels{FT_TEXT(FT_ISA),
                                     linear_scratch_bytes,
                                     linear,
                                     layer_scratch_bytes,
                                     layer,
                                     pack,
                                     pack_nf4,
                                     unpack_nf4,
                                     rotate_scratch_bytes,
                                     rotate_rows,
                                     hadamard_rows,
                                     embed,
                                     finish,
                                     peak_ops};
    return kernels;
}

}  // namespace farthing::FT_ISA
