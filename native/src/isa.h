// Every source with "isa" in its list in build_native.py is compiled once for each instruction set, in a namespace of its own
// (FT_ISA, set by the build), so that the plain loops in it are vectorised for each. This is what such a build exports.
#pragma once

#include "../include/farthing_native.h"
#include "threads.h"

namespace farthing {

struct LinearCall {
    ThreadPool& pool;
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

struct Kernels {
    const char* name;
    void (*linear)(const LinearCall&);
    void (*layer)(const LayerCall&);
    void (*pack_nf4)(const PackNf4Call&);
    void (*unpack_nf4)(const UnpackNf4Call&);
    double (*peak_ops)();  // of the calling thread
    int input_bytes;       // of a quantised input of a row
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
