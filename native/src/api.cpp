// The C interface: checks what can be checked, picks the instruction set, and hands over.
#include <cstring>
#include <new>
#include <numeric>
#include <system_error>

#include "cpu.h"
#include "floats.h"
#include "layer_check.h"
#include "pool.h"

using namespace farthing;

namespace {

struct Choice {
    const Kernels& (*kernels)();
    bool supported;
};

// The best first.
const Kernels* choose(const char* isa) {
    [[maybe_unused]] const Cpu cpu = detect_cpu();
    const Choice choices[] = {
#if defined(FT_HAS_amx)
        {amx::kernels, cpu.amx},
#endif
#if defined(FT_HAS_avx512bf16)
        {avx512bf16::kernels, cpu.avx512bf16},
#endif
#if defined(FT_HAS_avx512vnni)
        {avx512vnni::kernels, cpu.avx512vnni},
#endif
#if defined(FT_HAS_avxvnni)
        {avxvnni::kernels, cpu.avxvnni},
#endif
#if defined(FT_HAS_avx2)
        {avx2::kernels, cpu.avx2},
#endif
#if defined(FT_HAS_neon_i8mm)
        {neon_i8mm::kernels, cpu.neon_i8mm},
#endif
#if defined(FT_HAS_neon_dotprod)
        {neon_dotprod::kernels, cpu.neon_dotprod},
#endif
#if defined(FT_HAS_portable)
        {portable::kernels, true},
#endif
    };
    for (const Choice& choice : choices)
        if (choice.supported && (!isa || std::strcmp(isa, choice.kernels().name) == 0)) return &choice.kernels();
    return nullptr;
}

}  // namespace

int ft_pool_create(int32_t num_threads, const char* isa, ft_pool** out) {
    if (!out || num_threads < 1 || num_threads > kMaxThreads) return FT_BAD_ARGUMENT;
    const Kernels* const kernels = choose(isa);
    if (!kernels) return FT_NO_KERNEL;
    try {
        *out = new ft_pool(num_threads, *kernels);
    } catch (const std::system_error&) {
        return FT_NO_THREAD;
    } catch (const std::bad_alloc&) {
        return FT_NO_THREAD;
    }
    return FT_OK;
}

void ft_pool_rouse(ft_pool* pool) { pool->threads.rouse(); }

void ft_pool_destroy(ft_pool* pool) { delete pool; }

const char* ft_pool_isa(const ft_pool* pool) { return pool->kernels.name; }

const char* ft_cpu_isa(void) { return best_isa(detect_cpu()); }

size_t ft_packed_bytes(int32_t form, int32_t n, int32_t k) {
    if (n <= 0 || k <= 0 || !form_fits(form)) return 0;
    return form == FT_INT8 ? PackedMatrix(nullptr, n, k).bytes() : FloatMatrix(form, nullptr, n, k).bytes();
}

int ft_pack_rows(ft_pool* pool, int32_t form, const void* rows, int32_t dtype, int32_t n, int32_t k, void* packed) {
    if (!pool || !rows || !aligned(packed) || !form_fits(form) || !dtype_fits(dtype)) return FT_BAD_ARGUMENT;
    if (n <= 0 || k <= 0 || k > kMaxInputs) return FT_BAD_SHAPE;
    pool->kernels.pack({pool->threads, form, rows, dtype, n, k, packed});
    return FT_OK;
}

size_t ft_linear_scratch_bytes(const ft_pool* pool, int32_t form, int32_t n, int32_t k) {
    if (n <= 0 || k <= 0 || k > kMaxInputs || !form_fits(form)) return 0;
    return pool->kernels.linear_scratch_bytes(form, k, pool->threads.num_threads());
}

int ft_linear(ft_pool* pool, int32_t form, const float* x, int32_t num_tokens, const void* packed, int32_t n, int32_t k,
              const float* bias, float* y, void* scratch, size_t scratch_bytes) {
    if (!pool || !x || !y || !aligned(packed) || !aligned(scratch) || num_tokens < 0 || !form_fits(form)) return FT_BAD_ARGUMENT;
    if (n <= 0 || k <= 0 || k > kMaxInputs) return FT_BAD_SHAPE;
    if (scratch_bytes < ft_linear_scratch_bytes(pool, form, n, k)) return FT_SCRATCH_SMALL;
    if (num_tokens > 0)
        pool->kernels.linear({pool->threads, form, x, num_tokens, packed, n, k, bias, y, static_cast<char*>(scratch)});
    return FT_OK;
}

size_t ft_layer_scratch_bytes(const ft_pool* pool, const ft_layer_spec* spec, int32_t num_tokens, int32_t num_texts) {
    if (!spec_fits(*spec) || num_tokens < 0 || num_texts < 0) return 0;
    return pool->kernels.layer_scratch_bytes(*spec, num_tokens, num_texts, pool->threads.num_threads());
}

size_t ft_layer_kv_bytes(const ft_layer_spec* spec, int32_t num_tokens) {
    if (!spec_fits(*spec) || num_tokens < 0) return 0;
    const size_t number_bytes = spec->form == FT_INT8 ? sizeof(uint16_t) : sizeof(float);
    return number_bytes * spec->kv_heads * (spec->head_dim + value_width(spec->head_dim)) * round_up(num_tokens, kKeyPanel);
}

int ft_layers(ft_pool* pool, const ft_layer_spec* spec, const ft_layer_weights* const* weights, int32_t num_layers,
              const ft_batch* batch, float* hidden, void* scratch, size_t scratch_bytes) {
    if (!pool || !spec || !weights || num_layers < 1 || !batch || !hidden) return FT_BAD_ARGUMENT;
    if (num_layers > 1 && (batch->keep || batch->prefixes)) return FT_BAD_ARGUMENT;
    for (int32_t layer = 0; layer < num_layers; ++layer) {
        if (!weights[layer]) return FT_BAD_ARGUMENT;
        if (const int error = check_layer(*spec, *weights[layer], *batch)) return error;
    }
    if (!aligned(scratch)) return FT_BAD_ARGUMENT;
    if (scratch_bytes < ft_layer_scratch_bytes(pool, spec, batch->num_tokens, batch->num_texts)) return FT_SCRATCH_SMALL;
    for (int32_t layer = 0; layer < num_layers && batch->num_tokens > 0; ++layer)
        pool->kernels.layer({pool->threads, *spec, *weights[layer], *batch, hidden, static_cast<char*>(scratch)});
    return FT_OK;
}

int ft_pack_nf4(ft_pool* pool, const void* rows, int32_t dtype, int32_t n, int32_t k, const float* candidates,
                int32_t num_candidates, void* nf4) {
    if (!pool || !rows || !candidates || num_candidates < 1 || !aligned(nf4)) return FT_BAD_ARGUMENT;
    if (dtype != FT_FLOAT32 && dtype != FT_BFLOAT16) return FT_BAD_ARGUMENT;
    if (n <= 0 || k <= 0 || k > kMaxInputs) return FT_BAD_SHAPE;
    pool->kernels.pack_nf4({pool->threads, rows, dtype, n, k, candidates, num_candidates, nf4});
    return FT_OK;
}

int ft_unpack_nf4(ft_pool* pool, const void* nf4, int32_t n, int32_t k, void* packed) {
    if (!pool || !aligned(nf4) || !aligned(packed)) return FT_BAD_ARGUMENT;
    if (n <= 0 || k <= 0 || k > kMaxInputs) return FT_BAD_SHAPE;
    pool->kernels.unpack_nf4({pool->threads, nf4, n, k, packed});
    return FT_OK;
}

double ft_peak_ops(ft_pool* pool, int32_t form) {
    struct {
        ft_pool* pool;
        int form;
        double ops[kMaxThreads];
    } team{pool, form, {}};
    using Team = decltype(team);
    pool->threads.run(
        [](void* context, int thread) {
            Team& team = *static_cast<Team*>(context);
            team.pool->kernels.peak_ops(team.form);  // not counted: the first one after a sleep is slower
            team.pool->threads.barrier().wait();  // so that they run at the same time
            team.ops[thread] = team.pool->kernels.peak_ops(team.form);
        },
        &team);
    return std::accumulate(team.ops, team.ops + pool->threads.num_threads(), 0.0);
}

int32_t ft_profile(ft_pool* pool, uint64_t* cycles, int32_t capacity) {
    constexpr int32_t kStages = static_cast<int32_t>(Stage::kCount);
    for (int32_t stage = 0; stage < kStages && stage < capacity; ++stage) {
        cycles[stage] = 0;
        for (int thread = 0; thread < pool->threads.num_threads(); ++thread) {
            uint64_t& counted = pool->threads.profile(thread).cycles[stage];
            cycles[stage] += counted;
            counted = 0;
        }
    }
    return kStages;
}

const char* ft_profile_stage(int32_t stage) {
    static const char* const names[] = {"norm+quantize", "qkv",     "norm+rope", "attention", "o",
                                        "gate_up+silu",  "down",    "quantize",  "wait"};
    static_assert(sizeof names / sizeof *names == static_cast<size_t>(Stage::kCount));
    return stage >= 0 && stage < static_cast<int32_t>(Stage::kCount) ? names[stage] : nullptr;
}
