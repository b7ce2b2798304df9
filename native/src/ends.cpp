// What comes before the first layer, and behind the last.
#include <optional>

#include "isa.h"
#include "lanes.h"
#include "norms.h"
#include "rotation.h"
#include "widen.h"

namespace farthing::FT_ISA {
namespace {

// out [width] = row `index` of a table times scale.
template <class Stored>
void take_row(const void* table, int index, int width, float scale, float* out) {
    const Stored* const row = static_cast<const Stored*>(table) + static_cast<size_t>(index) * width;
    for (int i = 0; i < width; i += kLanes) store(out + i, lanes_of(row + i) * scale);
}

void add_row(const float* table, int index, int width, float* out) {
    const float* const row = table + static_cast<size_t>(index) * width;
    for (int i = 0; i < width; i += kLanes) store(out + i, load_floats(out + i) + load_floats(row + i));
}

void embed_token(const EmbedCall& call, int token, float* out) {
    const ft_input& input = call.input;
    const auto take = input.dtype == FT_FLOAT32    ? take_row<float>
                      : input.dtype == FT_BFLOAT16 ? take_row<Bf16>
                                                   : take_row<Fp16>;
    take(input.tokens, call.ids[token], call.width, input.scale, out);
    if (input.types) add_row(input.types, call.types ? call.types[token] : 0, call.width, out);
    if (input.positions) add_row(input.positions, call.positions[token], call.width, out);
    if (input.norm) norm_row(out, call.width, *input.norm, out);
}

// Calls use(row, the thread's Rotator or NULL) for each of `num_rows` rows, on all threads.
template <class Use>
void for_each_row(ThreadPool& pool, int num_rows, const ft_rotation* rotation, bool inverse, char* scratch, Use use) {
    Carver carver(scratch);
    std::optional<RotationMatrices> matrices;
    if (rotation) matrices.emplace(*rotation, inverse, carver);
    struct Context {
        ThreadPool& pool;
        int num_rows;
        const RotationMatrices* matrices;
        char* scratch;
        Use& use;
    } context{pool, num_rows, rotation ? &*matrices : nullptr, scratch ? scratch + carver.used() : nullptr, use};
    pool.run(
        [](void* opaque, int thread) {
            Context& context = *static_cast<Context*>(opaque);
            std::optional<Rotator> rotator;
            if (context.matrices) {
                Carver sizes(nullptr);
                Rotator::carve(context.matrices->rotation, sizes);
                Carver carver(context.scratch + thread * sizes.used());
                rotator.emplace(*context.matrices, carver);
            }
            const Range rows = share(context.num_rows, thread, context.pool.num_threads());
            for (int row = rows.begin; row < rows.end; ++row) context.use(row, rotator ? &*rotator : nullptr);
        },
        &context);
}

}  // namespace

void embed(const EmbedCall& call) {
    for_each_row(call.pool, call.num_tokens, call.input.rotation, false, call.scratch, [&](int token, Rotator* rotator) {
        float* const row = call.hidden + static_cast<size_t>(token) * call.width;
        embed_token(call, token, row);
        if (rotator) rotator->turn(row, row);
    });
}

void finish(const FinishCall& call) {
    if (!call.norm && !call.rotation) return;
    for_each_row(call.pool, call.num_rows, call.rotation, true, call.scratch, [&](int index, Rotator* rotator) {
        float* const row = call.rows + static_cast<size_t>(index) * call.width;
        if (rotator) rotator->turn(row, row);
        if (call.norm) norm_row(row, call.width, *call.norm, row);
    });
}

}  // namespace farthing::FT_ISA
