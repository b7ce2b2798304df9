/* Encoder models on a CPU: a plain C interface over raw pointers.
 *
 * The caller owns every buffer; nothing here allocates after a pool is made, and nothing aborts: each function returns
 * FT_OK or an error code. Matrices are row-major; blocks of packed weights, of keys and values, and scratch are aligned to
 * 64 bytes. A model's weights have one of four forms:
 *
 * FT_INT8: int8 with one scale an output channel. Activations are quantised to int8 with one scale a token on the way (the
 * MLP's inner ones, of which a few dwarf the rest, with one scale for 256 of them); sums are exact in int32, everything else
 * is fp32, except attention, which multiplies bf16 and sums in fp32.
 * FT_FP32, FT_BF16, FT_FP16: as they are stored. They are widened to fp32 on the way, and everything is fp32.
 *
 * The rows of a text do not depend on the other texts of its batch, bit for bit, and not on the number of threads.
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
    FT_SCRATCH_SMALL = 3, /* scratch is smaller than the function's ..._scratch_bytes asks for */
    FT_NO_KERNEL = 4,     /* this CPU does not have the instruction set asked for */
    FT_NO_THREAD = 5      /* the operating system refused a thread */
};

/* Of numbers in rows: bf16 is the upper half of an fp32. */
enum { FT_FLOAT32 = 0, FT_BFLOAT16 = 1, FT_FLOAT16 = 2 };
/* Of packed matrices. */
enum { FT_INT8 = 0, FT_FP32 = 1, FT_BF16 = 2, FT_FP16 = 3 };

/* A fixed team of threads. One call at a time: calls on the same pool must not overlap. */
typedef struct ft_pool ft_pool;

/* `isa` is "portable", "avx2", "avx512vnni", "avx512bf16", "amx", on ARM "portable", "neon_dotprod", "neon_i8mm", or NULL for
 * the best that this CPU has. The calling thread is one of the `num_threads`. */
FT_API int ft_pool_create(int32_t num_threads, const char* isa, ft_pool** out);
FT_API void ft_pool_destroy(ft_pool* pool);
/* Wakes the team's threads, which sleep soon after a call, for a call that will come within a fifth of a millisecond. It may
 * overlap other calls. */
FT_API void ft_pool_rouse(ft_pool* pool);
FT_API const char* ft_pool_isa(const ft_pool* pool);

/* The best instruction set that this CPU has, which the library may have been compiled without. */
FT_API const char* ft_cpu_isa(void);

/* A packed matrix [n, k] is one block of bytes, alignment 64, free to be written to a file and mapped again. Any n and k.
 * FT_INT8: native/src/packed.h. The others: [n / 32][k][32] numbers, n rounded up to 32 and k to 16, with zeros. */
FT_API size_t ft_packed_bytes(int32_t form, int32_t n, int32_t k);

/* Packs `rows` [n, k] of `dtype`, and writes all of the block. What a form cannot hold is rounded to nearest, ties to even. */
FT_API int ft_pack_rows(ft_pool* pool, int32_t form, const void* rows, int32_t dtype, int32_t n, int32_t k, void* packed);

/* `rows` [n, k] of `dtype` to a block in NF4, as src/farthing/quant/nf4_packed.py describes it; each block of 64 inputs gets
 * the scale that is best among `candidates` times its largest magnitude. The block must be zero and its alignment 64. */
FT_API int ft_pack_nf4(ft_pool* pool, const void* rows, int32_t dtype, int32_t n, int32_t k, const float* candidates,
                       int32_t num_candidates, void* nf4);

/* Writes all of `packed`, an FT_INT8 block, from the same matrix in NF4. Both blocks: alignment 64. */
FT_API int ft_unpack_nf4(ft_pool* pool, const void* nf4, int32_t n, int32_t k, void* packed);

/* y [tokens, n] = x [tokens, k] W^T + bias [n]; bias may be NULL. */
FT_API size_t ft_linear_scratch_bytes(const ft_pool* pool, int32_t form, int32_t n, int32_t k);
FT_API int ft_linear(ft_pool* pool, int32_t form, const float* x, int32_t num_tokens, const void* packed, int32_t n, int32_t k,
                     const float* bias, float* y, void* scratch, size_t scratch_bytes);

enum { FT_RMS_NORM = 0, FT_LAYER_NORM = 1 };
enum { FT_GELU = 0, FT_GELU_TANH = 1, FT_SILU = 2 };

/* What a layer is: attention, then the MLP, each added to the residual stream. hidden, intermediate: multiples of 16.
 * head_dim: 16 to 256 in steps of 16. q_heads: a multiple of kv_heads. The flags are 0 or 1, in any combination. */
typedef struct {
    int32_t hidden, intermediate, q_heads, kv_heads, head_dim;
    int32_t form;         /* of all of its matrices */
    int32_t norm;         /* FT_RMS_NORM or FT_LAYER_NORM */
    int32_t norms_sums;   /* the norms stand behind the halves, over the residual stream with what was added; else before them */
    int32_t norms_added;  /* besides norms before the halves, others go over what the halves add; not with norms_sums */
    int32_t norms_heads;  /* RMSNorm of each head's queries and keys */
    int32_t turns_heads;  /* RoPE, of the two halves of a head */
    int32_t is_causal;
    int32_t window;       /* 0, or how many tokens away from a token the farthest are that it sees */
    int32_t is_gated;     /* the MLP is down(activation(gate) * up); else down(activation(up)) */
    int32_t activation;   /* FT_GELU, FT_GELU_TANH or FT_SILU */
    /* The rows that enter qkv and up, that enter o, and that enter down are rotated on their way, each 64 inputs by H, the
     * orthonormal Hadamard matrix of 64 (Sylvester's); the matrices were packed as W H. Only of FT_INT8, and of
     * widths that are multiples of 64: hidden, q_heads * head_dim, intermediate. */
    int32_t rotates_hidden, rotates_attended, rotates_inner;
    float norm_eps, head_norm_eps;
    float query_scale;    /* of the products of queries and keys; 0: 1 / sqrt(head_dim) */
} ft_layer_spec;

/* What a spec does not use is NULL. Each bias may be NULL. */
typedef struct {
    const void* qkv;  /* packed [(q_heads + 2 kv_heads) head_dim, hidden], in this order */
    const void* o;    /* packed [hidden, q_heads head_dim] */
    const void* up;   /* packed [intermediate, hidden]; with a gate [2 intermediate, hidden], the gate first */
    const void* down; /* packed [hidden, intermediate] */
    const float *qkv_bias, *o_bias, *up_bias, *down_bias;   /* one an output channel */
    const float *attention_norm_gain, *attention_norm_bias; /* [hidden]; before attention NULL where it has no norm */
    const float *mlp_norm_gain, *mlp_norm_bias;             /* [hidden] */
    const float *attention_added_gain, *attention_added_bias, *mlp_added_gain, *mlp_added_bias; /* [hidden], of norms_added */
    const float *q_norm, *k_norm;                           /* [head_dim] */
} ft_layer_weights;

/* Keys and values of earlier tokens, as an earlier call laid them into ft_prefixes.stored; alignment 64. The first of them
 * has position 0. num_tokens: how many of them are seen. padded_tokens: how many the block has room for, a multiple of 32. */
typedef struct {
    const void* kv; /* of ft_layer_kv_bytes(spec, padded_tokens), in a layout of its own (native/src/kv.h) */
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
    /* NULL, or what is added to the products of queries and keys: [q_heads][2 bias_reach + 32] numbers, of which number
     * key - query + bias_reach is for keys and queries in these positions, which are less than bias_reach apart. */
    const float* distance_bias;
    int32_t bias_reach;
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

/* R = (left kron right) diag(signs), orthogonal: left [left_size, left_size], right [right_size, right_size], both
 * orthogonal, signs [left_size right_size]. */
typedef struct {
    int32_t left_size, right_size;
    const float *left, *right, *signs;
} ft_rotation;

/* out [num_rows, width] = R x, or with `inverse` R^T x, of each row x of `rows`, which may be `out` itself. A rotation that
 * is NULL needs no scratch. */
FT_API size_t ft_rotate_scratch_bytes(const ft_pool* pool, const ft_rotation* rotation);
FT_API int ft_rotate_rows(ft_pool* pool, const ft_rotation* rotation, int32_t inverse, const float* rows, int64_t num_rows,
                          float* out, void* scratch, size_t scratch_bytes);

/* rows [num_rows, width] in place, each 64 numbers times H (see ft_layer_spec); width: a multiple of 64. */
FT_API int ft_hadamard_rows(ft_pool* pool, float* rows, int64_t num_rows, int32_t width);

typedef struct {
    int32_t kind;       /* FT_RMS_NORM or FT_LAYER_NORM */
    float eps;
    const float* gain;  /* [width], a multiple of 16 */
    const float* bias;  /* [width] of a LayerNorm that has one; else NULL */
} ft_norm;

/* What a model's first layer gets: rows of the tables, added up. What a model does not have is NULL. */
typedef struct {
    const void* tokens;      /* [num_tokens, hidden] of `dtype` */
    int32_t dtype, num_tokens;
    float scale;             /* of the rows of `tokens` */
    const float* positions;  /* [num_positions, hidden] */
    int32_t num_positions;
    const float* types;      /* [num_types, hidden] */
    int32_t num_types;
    const ft_norm* norm;         /* of the sum */
    const ft_rotation* rotation; /* of the normed sum */
} ft_input;

/* hidden [num_tokens, width] of the tokens `ids`, in the rows `positions` and `types` of these tables; types NULL: all 0.
 * ids, positions and types that the tables do not have: FT_BAD_ARGUMENT. Scratch: what ft_rotate_scratch_bytes says. */
FT_API int ft_embed(ft_pool* pool, const ft_input* input, const int32_t* ids, const int32_t* positions, const int32_t* types,
                    int32_t num_tokens, int32_t width, float* hidden, void* scratch, size_t scratch_bytes);

/* rows [num_rows, width] in place: R^T x of `rotation`, then `norm`; either may be NULL. Scratch as ft_embed's. */
FT_API int ft_finish(ft_pool* pool, const ft_norm* norm, const ft_rotation* rotation, float* rows, int32_t num_rows,
                     int32_t width, void* scratch, size_t scratch_bytes);

/* means [num_texts, width] fp32 of the texts' rows [tokens, width]; each text has at least one. */
FT_API int ft_mean_rows(ft_pool* pool, const float* rows, int32_t width, const int32_t* cu_seqlens, int32_t num_texts,
                        float* means);

/* One layer of a pass. */
typedef struct {
    const ft_layer_spec* spec;
    const ft_layer_weights* weights;
    const float *cos, *sin;      /* as in ft_batch */
    int32_t rope_positions;
    const float* distance_bias;  /* likewise */
    int32_t bias_reach;
    const ft_prefixes* prefixes; /* as in ft_batch; the same parents and offsets in all layers */
} ft_layer;

/* A batch's way from token ids to rows. */
typedef struct {
    const ft_input* input;
    const int32_t *ids, *positions, *types; /* as in ft_embed */
    int32_t num_tokens, num_texts;
    const int32_t* cu_seqlens;
    int32_t num_layers;
    const ft_layer* layers;  /* [num_layers], all with the same `hidden` */
    int32_t num_keep;
    const int32_t* keep;     /* as in ft_batch, of the last layer */
    const ft_norm* last_norm;
    const ft_rotation* last_rotation; /* whose inverse the rows go through before the last norm */
    int32_t takes_means;     /* of the texts' rows; not with `keep`, and each text has a row then */
} ft_pass;

/* rows fp32: of the kept tokens [num_keep, hidden], or the means [num_texts, hidden], or of all tokens [num_tokens, hidden]. */
FT_API size_t ft_run_scratch_bytes(const ft_pool* pool, const ft_pass* pass);
FT_API int ft_run(ft_pool* pool, const ft_pass* pass, float* rows, void* scratch, size_t scratch_bytes);

/* Multiplications and additions a second that all threads of the pool together reach from registers, measured while all of
 * them run: what a GEMM cannot exceed. Of int8 for FT_INT8, else of fp32. */
FT_API double ft_peak_ops(ft_pool* pool, int32_t form);

/* Cycles by stage since the last call, summed over threads; zeros unless built with FT_PROFILE. Returns the count. */
FT_API int32_t ft_profile(ft_pool* pool, uint64_t* cycles, int32_t capacity);
FT_API const char* ft_profile_stage(int32_t stage);

#ifdef __cplusplus
}
#endif
#endif
