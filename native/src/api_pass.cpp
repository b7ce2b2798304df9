// The C interface to what surrounds the layers, and to a whole pass: checks what can be checked, and hands over.
#include <algorithm>

#include "layer_check.h"
#include "mean.h"
#include "pool.h"
#include "scratch.h"

using namespace farthing;

namespace {

constexpr int kMaxPart = 4096;  // of a rotation

bool rotation_fits(const ft_rotation& rotation) {
    const auto fits = [](int size) { return size > 0 && size <= kMaxPart; };
    return fits(rotation.left_size) && fits(rotation.right_size) && rotation.left && rotation.right && rotation.signs;
}

// Of rows that are so wide; NULL is none.
int check_rotation(const ft_rotation* rotation, int width) {
    if (!rotation) return FT_OK;
    if (!rotation_fits(*rotation)) return FT_BAD_ARGUMENT;
    return rotation->left_size * rotation->right_size == width ? FT_OK : FT_BAD_SHAPE;
}

// With a rotation, scratch has to be there.
int check_scratch(const ft_pool* pool, const ft_rotation* rotation, const void* scratch, size_t scratch_bytes) {
    if (!rotation) return FT_OK;
    if (!aligned(scratch)) return FT_BAD_ARGUMENT;
    return scratch_bytes < ft_rotate_scratch_bytes(pool, rotation) ? FT_SCRATCH_SMALL : FT_OK;
}

// `numbers`, of the tokens, are rows of a table that has `count`.
bool rows_exist(const int32_t* numbers, int num_tokens, int count) {
    return std::all_of(numbers, numbers + num_tokens, [&](int32_t number) { return number >= 0 && number < count; });
}

int check_input(const ft_input& input, const int32_t* ids, const int32_t* positions, const int32_t* types, int num_tokens,
                int width) {
    if (!input.tokens || !dtype_fits(input.dtype) || !ids || num_tokens < 0 || (input.norm && !norm_fits(*input.norm)))
        return FT_BAD_ARGUMENT;
    if (!width_fits(width)) return FT_BAD_SHAPE;
    if (const int error = check_rotation(input.rotation, width)) return error;
    if (!rows_exist(ids, num_tokens, input.num_tokens)) return FT_BAD_ARGUMENT;
    if (input.positions && (!positions || !rows_exist(positions, num_tokens, input.num_positions))) return FT_BAD_ARGUMENT;
    if (!input.types) return FT_OK;
    return input.num_types > 0 && (!types || rows_exist(types, num_tokens, input.num_types)) ? FT_OK : FT_BAD_ARGUMENT;
}

int check_finish(const ft_norm* norm, const ft_rotation* rotation, int width) {
    if (norm && !norm_fits(*norm)) return FT_BAD_ARGUMENT;
    if (!width_fits(width)) return FT_BAD_SHAPE;
    return check_rotation(rotation, width);
}

ft_batch batch_of(const ft_pass& pass, int32_t index) {
    const ft_layer& layer = pass.layers[index];
    const bool keeps = pass.keep && index == pass.num_layers - 1;
    return {pass.num_tokens, pass.num_texts, pass.cu_seqlens, layer.cos, layer.sin, layer.rope_positions, layer.distance_bias, layer.bias_reach,
            keeps ? pass.num_keep : 0, keeps ? pass.keep : nullptr, layer.prefixes};
}

int check_pass(const ft_pass& pass) {
    if (!pass.input || pass.num_layers < 1 || !pass.layers || !pass.layers[0].spec) return FT_BAD_ARGUMENT;
    const int hidden = pass.layers[0].spec->hidden;
    for (int32_t index = 0; index < pass.num_layers; ++index) {
        const ft_layer& layer = pass.layers[index];
        if (!layer.spec || !layer.weights) return FT_BAD_ARGUMENT;
        if (layer.spec->hidden != hidden) return FT_BAD_SHAPE;
        if (const int error = check_layer(*layer.spec, *layer.weights, batch_of(pass, index))) return error;
    }
    if (const int error = check_input(*pass.input, pass.ids, pass.positions, pass.types, pass.num_tokens, hidden)) return error;
    if (const int error = check_finish(pass.last_norm, pass.last_rotation, hidden)) return error;
    if (!pass.takes_means) return FT_OK;
    for (int32_t text = 0; text < pass.num_texts; ++text)
        if (pass.cu_seqlens[text + 1] == pass.cu_seqlens[text]) return FT_BAD_ARGUMENT;
    return pass.keep ? FT_BAD_ARGUMENT : FT_OK;
}

// What lies where in a pass' scratch: the residual stream, unless it is the result, and behind it what one step needs.
struct PassScratch {
    PassScratch(const ft_pool& pool, const ft_pass& pass, char* base) {
        Carver carver(base);
        const int hidden_width = pass.layers[0].spec->hidden;
        hidden = carver.take<float>(pass.keep || pass.takes_means ? static_cast<size_t>(pass.num_tokens) * hidden_width : 0);
        size_t bytes = 0;
        for (const ft_rotation* rotation : {pass.input->rotation, pass.last_rotation})
            bytes = std::max(bytes, ft_rotate_scratch_bytes(&pool, rotation));
        for (int32_t i = 0; i < pass.num_layers; ++i)
            if (i == 0 || pass.layers[i].spec != pass.layers[i - 1].spec)
                bytes = std::max(bytes, ft_layer_scratch_bytes(&pool, pass.layers[i].spec, pass.num_tokens, pass.num_texts));
        step = carver.take<char>(bytes);
        used = carver.used();
    }

    float* hidden;
    char* step;
    size_t used;
};

}  // namespace

size_t ft_rotate_scratch_bytes(const ft_pool* pool, const ft_rotation* rotation) {
    if (!rotation || !rotation_fits(*rotation)) return 0;
    return pool->kernels.rotate_scratch_bytes(*rotation, pool->threads.num_threads());
}

int ft_rotate_rows(ft_pool* pool, const ft_rotation* rotation, int32_t inverse, const float* rows, int64_t num_rows, float* out,
                   void* scratch, size_t scratch_bytes) {
    if (!pool || !rotation || !rows || !out || num_rows < 0 || !rotation_fits(*rotation)) return FT_BAD_ARGUMENT;
    if (const int error = check_scratch(pool, rotation, scratch, scratch_bytes)) return error;
    pool->kernels.rotate_rows({pool->threads, *rotation, inverse != 0, rows, num_rows, out, static_cast<char*>(scratch)});
    return FT_OK;
}

int ft_hadamard_rows(ft_pool* pool, float* rows, int64_t num_rows, int32_t width) {
    if (!pool || !rows || num_rows < 0) return FT_BAD_ARGUMENT;
    if (width < 1 || width % kRotatedInputs != 0) return FT_BAD_SHAPE;
    pool->kernels.hadamard_rows(pool->threads, rows, num_rows, width);
    return FT_OK;
}

int ft_embed(ft_pool* pool, const ft_input* input, const int32_t* ids, const int32_t* positions, const int32_t* types,
             int32_t num_tokens, int32_t width, float* hidden, void* scratch, size_t scratch_bytes) {
    if (!pool || !input || !hidden) return FT_BAD_ARGUMENT;
    if (const int error = check_input(*input, ids, positions, types, num_tokens, width)) return error;
    if (const int error = check_scratch(pool, input->rotation, scratch, scratch_bytes)) return error;
    pool->kernels.embed(
        {pool->threads, *input, ids, positions, types, num_tokens, width, hidden, static_cast<char*>(scratch)});
    return FT_OK;
}

int ft_finish(ft_pool* pool, const ft_norm* norm, const ft_rotation* rotation, float* rows, int32_t num_rows, int32_t width,
              void* scratch, size_t scratch_bytes) {
    if (!pool || !rows || num_rows < 0) return FT_BAD_ARGUMENT;
    if (const int error = check_finish(norm, rotation, width)) return error;
    if (const int error = check_scratch(pool, rotation, scratch, scratch_bytes)) return error;
    pool->kernels.finish({pool->threads, norm, rotation, rows, num_rows, width, static_cast<char*>(scratch)});
    return FT_OK;
}

int ft_mean_rows(ft_pool* pool, const float* rows, int32_t width, const int32_t* cu_seqlens, int32_t num_texts, float* means) {
    if (!pool || !rows || !cu_seqlens || !means || width < 1 || num_texts < 0) return FT_BAD_ARGUMENT;
    for (int32_t text = 0; text < num_texts; ++text)
        if (cu_seqlens[text] < 0 || cu_seqlens[text + 1] <= cu_seqlens[text]) return FT_BAD_ARGUMENT;
    mean_rows(pool->threads, rows, width, cu_seqlens, num_texts, means);
    return FT_OK;
}

size_t ft_run_scratch_bytes(const ft_pool* pool, const ft_pass* pass) {
    return check_pass(*pass) == FT_OK ? PassScratch(*pool, *pass, nullptr).used : 0;
}

int ft_run(ft_pool* pool, const ft_pass* pass, float* rows, void* scratch, size_t scratch_bytes) {
    if (!pool || !pass || !rows) return FT_BAD_ARGUMENT;
    if (const int error = check_pass(*pass)) return error;
    if (!aligned(scratch)) return FT_BAD_ARGUMENT;
    const PassScratch parts(*pool, *pass, static_cast<char*>(scratch));
    if (scratch_bytes < parts.used) return FT_SCRATCH_SMALL;
    if (pass->num_tokens == 0) return FT_OK;
    const Kernels& kernels = pool->kernels;
    const int width = pass->layers[0].spec->hidden;
    float* const hidden = pass->keep || pass->takes_means ? parts.hidden : rows;
    kernels.embed({pool->threads, *pass->input, pass->ids, pass->positions, pass->types, pass->num_tokens, width, hidden,
                   parts.step});
    for (int32_t index = 0; index < pass->num_layers; ++index) {
        const ft_batch batch = batch_of(*pass, index);
        kernels.layer({pool->threads, *pass->layers[index].spec, *pass->layers[index].weights, batch, hidden, parts.step});
    }
    if (pass->keep)
        for (int32_t i = 0; i < pass->num_keep; ++i)
            std::copy_n(hidden + static_cast<size_t>(pass->keep[i]) * width, width, rows + static_cast<size_t>(i) * width);
    float* const finished = pass->keep ? rows : hidden;
    const int num_finished = pass->keep ? pass->num_keep : pass->num_tokens;
    kernels.finish({pool->threads, pass->last_norm, pass->last_rotation, finished, num_finished, width, parts.step});
    if (pass->takes_means) mean_rows(pool->threads, hidden, width, pass->cu_seqlens, pass->num_texts, rows);
    return FT_OK;
}
