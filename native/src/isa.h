// Every source with "isa" in its list in build_native.py is compiled once for each instruction set, in a namespace of its own
// (FT_ISA, set by the build), so that the plain loops in it are vectorised for each. This is what such a build exports.
#pragma once

#include "../include/farthing_native.h"
#include "threads.h"

namespace farthing {

struct LinearCall {
    ThreadPool& pool;
    int form;
    const float* x;
    int num_tokens;
    const void* packed;
    int n, k;
    const float* bias;
    float* y;
    char* scratch;
};

struct LayerCall {
    ThreadPool& pool;
    const ft_layer_spec& spec;
    const ft_layer_weights& weights;
    const ft_batch& batch;
    float* hidden;
    char* scratch;
};

struct PackCall {
    ThreadPool& pool;
    int form;
    const void* rows;
    int dtype, n, k;
    void* packed;
};

struct PackNf4Call {
    ThreadPool& pool;
    const void* rows;
    int dtype, n, k;
    const float* candidates;
    int num_candidates;
    void* nf4;
};

struct UnpackNf4Call {
    ThreadPool& pool;
    const void* nf4;
    int n, k;
    void* packed;
};

struct RotateCall {
    ThreadPool& pool;
    const ft_rotation& rotation;
    bool inverse;
    const float* rows;
    int64_t num_rows;
    float* out;
    char* scratch;
};

struct EmbedCall {
    ThreadPool& pool;
    const ft_input& input;
    const int32_t *ids, *positions, *types;
    int num_tokens, width;
    float* hidden;
    char* scratch;
};

struct FinishCall {
    ThreadPool& pool;
    const ft_norm* norm;
    const ft_rotation* rotation;
    float* rows;
    int num_rows, width;
    char* scratch;
};

struct Kernels {
    const char* name;
    size_t (*linear_scratch_bytes)(int form, int k, int num_threads);
    void (*linear)(const LinearCall&);
    size_t (*layer_scratch_bytes)(const ft_layer_spec& spec, int num_tokens, int num_texts, int num_threads);
    void (*layer)(const LayerCall&);
    void (*pack)(const PackCall&);
    void (*pack_nf4)(const PackNf4Call&);
    void (*unpack_nf4)(const UnpackNf4Call&);
    size_t (*rotate_scratch_bytes)(const ft_rotation& rotation, int num_threads);
    void (*rotate_rows)(const RotateCall&);
    void (*hadamard_rows)(ThreadPool& pool, float* rows, int64_t num_rows, int width);
    void (*embed)(const EmbedCall&);
    void (*finish)(const FinishCall&);
    double (*peak_ops)(int form);  // of the calling thread
};

namespace portable { const Kernels& kernels(); }
namespace avx2 { const Kernels& kernels(); }
namespace avxvnni { const Kernels& kernels(); }
namespace avx512vnni { const Kernels& kernels(); }
namespace avx512bf16 { const Kernels& kernels(); }
namespace amx { const Kernels& kernels(); }
namespace neon_dotprod { const Kernels& kernels(); }
namespace neon_i8mm { const Kernels& kernels(); }

}  // namespace farthing
