/* Int8 encoder layers on a CPU: a plain C interface over raw pointers.
 *
 * The caller owns every buffer; nothing here allocates after a pool is made, and nothing aborts: each function returns
 * FT_OK or an error code. Matrices are row-major. Weights are int8 with one scale an output channel, activations are
 * quantised to int8 with one scale a token on the way (the MLP's inner ones, of
 * which a few dwarf the rest, with one scale for 256 of them); sums are exact in int32, everything else is fp32, except
 * attention, which multiplies bf16 and sums in fp32.
 */
#ifndef FARTHING_NATIVE_H
#define FARTHING_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define FT_API __declspec(dllexport)
#else
#define FT_API __attribute__((visibility("default")))
#endif

enum {
    FT_OK = 0,
    FT_BAD_SHAPE = 1,     /* a width is not a multiple of what the kernels need, see ft_layer_spec */
    FT_BAD_ARGUMENT = 2,  /* a null pointer, a misaligned buffer, offsets that do not ascend, a parent that does not fit */
    FT_SCRATCH_SMALL = 3, /* scratch is smaller than ft_layer_scratch_bytes or ft_linear_scratch_bytes asks for */
    FT_NO_KERNEL = 4,     /* this CPU does not have the instruction set asked for */
    FT_NO_THREAD = 5      /* the operating system refused a thread */
};

enum { FT_FLOAT32 = 0, FT_BFLOAT16 = 1 };

/* A fixed team of threads. One call at a time: calls on the same pool must not overlap. */
typedef struct ft_pool ft_pool;

/* `isa` is "portable", "avx2", "avx512vnni", "avx512bf16", "amx", on ARM "portable", "neon_dotprod", "neon_i8mm", or NULL for
 * the best that this CPU has. The calling thread is one of the `num_threads`. */
FT_API int ft_pool_create(int32_t num_threads, const char* isa, ft_pool** out);
FT_API void ft_pool_destroy(ft_pool* pool);
FT_API const char* ft_pool_isa(const ft_pool* pool);

/* A packed matrix [n, k] is one block of bytes, alignment 64, free to be written to a file and mapped again. Any n and k. */
FT_API size_t ft_packed_bytes(int32_t n, int32_t k);

/* Quantises and packs rows first_row .. first_row + num_rows of a matrix [n, k]; `rows` is [num_rows, k] of `dtype`.
 * The block must be zero before its first rows are packed. Different rows may be packed at the same time. */
FT_API int ft_pack_rows(const void* rows, int32_t dtype, int32_t first_row, int32_t num_rows, int32_t n, int32_t k,
                        void* packed);

/* `rows` [n, k] of `dtype` to a block in NF4, as src/farthing/quant/nf4_packed.py describes it; each block of 64 inputs gets
 * the scale that is best among `candidates` times its largest magnitude. The block must be zero and its alignment 64. */
FT_API int ft_pack_nf4(ft_pool* pool, const void* rows, int32_t dtype, int32_t n, int32_t k, const float* candidates,
                       int32_t num_candidates, void* nf4);

/* Writes all of `packed` from the same matrix in NF4. Both blocks: alignment 64. */
FT_API int ft_unpack_nf4(ft_pool* pool, const void* nf4, int32_t n, int32_t k, void* packed);

/* y [tokens, n] = x [tokens, k] W^T + bias [n]; bias may be NULL. Scratch: alignment 64. */
FT_API size_t ft_linear_scratch_bytes(const ft_pool* pool, int32_t n, int32_t k);
FT_API int ft_linear(ft_pool* pool, const float* x, int32_t num_tokens, const void* packed, int32_t n, int32_t k,
                     const float* bias, float* y, void* scratch, size_t scratch_bytes);

enum { FT_RMS_NORM = 0, FT_LAYER_NORM = 1 };
enum { FT_GELU = 0, FT_GELU_TANH = 1, FT_SILU = 2 };

/* What a layer is: attention, then the MLP, each added to the residual stream. hidden, intermediate: multiples of 64.
 * head_dim: 32, 64, 96 or 128. q_heads: a multiple of kv_heads. The flags are 0 or 1. Computed are RMSNorm before each half
 * with plain inputs, and LayerNorm behind each half with rotated inputs; heads that are both normed and turned, or neither. */
typedef struct {
    int32_t hidden, intermediate, q_heads, kv_heads, head_dim;
    int32_t norm;         /* FT_RMS_NORM or FT_LAYER_NORM */
    int32_t norms_sums;   /* the norms stand behind the halves, over the residual stream with what was added; else before them */
    int32_t norms_heads;  /* RMSNorm of each head's queries and keys */
    int32_t turns_heads;  /* RoPE */
    int32_t is_causal;
    int32_t is_gated;     /* the MLP is down(activation(gate) * up); else down(activation(up)) */
    int32_t activation;   /* FT_GELU, FT_GELU_TANH or FT_SILU */
    int32_t is_rotated;   /* the inputs of all matrices are rotated, and not only those of down */
    float norm_eps;
} ft_layer_spec;

/* Where inputs are rotated, packed is W H, with H the orthonormal Hadamard matrix of 64 (Sylvester's) on each 64 inputs; the
 * layer rotates the rows that enter the product likewise. What a spec does not use is NULL. */
typedef struct {
    const void* qkv;  /* packed [(q_heads + 2 kv_heads) head_dim, hidden], in this order */
    const void* o;    /* packed [hidden, q_heads head_dim] */
    const void* up;   /* packed [intermediate, hidden]; with a gate [2 intermediate, hidden], the gate first */
    const void* down; /* packed [hidden, intermediate], its inputs always rotated */
    const float *qkv_bias, *o_bias, *up_bias, *down_bias;   /* one an output channel; all of them or none */
    const float *attention_norm_gain, *attention_norm_bias; /* [hidden] */
    const float *mlp_norm_gain, *mlp_norm_bias;             /* [hidden] */
    const float *q_norm, *k_norm;                           /* [head_dim] */
} ft_layer_weights;

/* Keys and values of earlier tokens, as an earlier call laid them into ft_prefixes.stored; alignment 64. The first of them
 * has position 0. num_tokens: how many of them are seen. padded_tokens: how many the block has room for, a multiple of 32. */
typedef struct {
    const void* kv; /* bf16 [2][kv_heads][padded_tokens][head_dim], permuted */
    int32_t padded_tokens, num_tokens;
} ft_known;

/* Makes segments of a batch's texts: tokens of a segment see all of its parent's, and of the parent's parents, before their
 * own. Each row comes out bit for bit as it does where all tokens before it are computed with it as one text. */
typedef struct {
    /* [num_texts]: -1, none; j < num_texts, segment j of the batch, with at least one token; num_texts + k, known[k] */
    const int32_t* parents;
    const int32_t* offsets; /* [num_texts] position of a segment's first token: the tokens of all its ancestors */
    int32_t num_known;
    const ft_known* known;
    /* NULL, or [num_texts] of NULL or the caller's memory, of ft_layer_kv_bytes and alignment 64, that a segment's keys and
     * values are laid into; only for segments without a parent. Nothing that is known to the same call. */
    void* const* stored;
} ft_prefixes;

/* Texts lie one behind the other without padding. cos, sin: [rope_positions, head_dim / 2], by position in the text. */
typedef struct {
    int32_t num_tokens, num_texts;
    const int32_t* cu_seqlens; /* [num_texts + 1], from 0 to num_tokens, ascending */
    const float* cos;
    const float* sin;
    int32_t rope_positions;
    int32_t num_keep;
    const int32_t* keep; /* NULL, or [num_keep] ascending tokens: only these rows of hidden are brought up to date */
    const ft_prefixes* prefixes; /* NULL where no text has a parent and none is stored */
} ft_batch;

FT_API size_t ft_layer_scratch_bytes(const ft_pool* pool, const ft_layer_spec* spec, int32_t num_tokens,
                                     int32_t num_texts);

/* Bytes of a segment's keys and values in ft_prefixes.stored; 0 where the spec does not fit. */
FT_API size_t ft_layer_kv_bytes(const ft_layer_spec* spec, int32_t num_tokens);

/* hidden [num_tokens, hidden] fp32, in and out, goes through layers of one spec, one after the other. Prefixes are for causal
 * layers; cos, sin and rope_positions for such as turn heads. With `keep` or prefixes, a call is for one layer: other rows
 * are behind then, and the keys and values are a layer's own. */
FT_API int ft_layers(ft_pool* pool, const ft_layer_spec* spec, const ft_layer_weights* const* weights, int32_t num_layers,
                     const ft_batch* batch, float* hidden, void* scratch, size_t scratch_bytes);

/* means [num_texts, width] fp32 of the texts' rows [tokens, width]; each text has at least one. */
FT_API int ft_mean_rows(const float* rows, int32_t width, const int32_t* cu_seqlens, int32_t num_texts, float* means);

/* Int8 multiplications and additions a second that all threads of the pool together reach from registers, measured while
 * all of them run: what a GEMM cannot exceed. */
FT_API double ft_peak_ops(ft_pool* pool);

/* Cycles by stage since the last call, summed over threads; zeros unless built with FT_PROFILE. Returns the count. */
FT_API int32_t ft_profile(ft_pool* pool, uint64_t* cycles, int32_t capacity);
FT_API const char* ft_profile_stage(int32_t stage);

#ifdef __cplusplus
}
#endif
#endif
