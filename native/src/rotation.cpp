#include "rotation.h"

#include <algorithm>
#include <cstring>

#include "blocks_float.h"
#include "isa.h"
#include "quantize.h"
#include "rotate.h"

namespace farthing::FT_ISA {
namespace {

size_t left_floats(const ft_rotation& rotation) {
    return static_cast<size_t>(rotation.left_size) * round_up(rotation.left_size, kChunkFloats);
}
size_t right_bytes(const ft_rotation& rotation) {
    return FloatMatrix(FT_FP32, nullptr, rotation.right_size, rotation.right_size).bytes();
}
size_t rows_floats(const ft_rotation& rotation) {
    return static_cast<size_t>(rotation.left_size) * round_up(rotation.right_size, kChunkFloats);
}
size_t products_floats(const ft_rotation& rotation) {
    return static_cast<size_t>(round_up(rotation.left_size, kChunkFloats)) * round_up(rotation.right_size, kPanelChannels);
}

}  // namespace

RotationMatrices::RotationMatrices(const ft_rotation& rotation, bool inverse, Carver& carver)
    : rotation(rotation), inverse(inverse),
      right(FT_FP32, carver.take<char>(right_bytes(rotation)), rotation.right_size, rotation.right_size) {
    const int left_size = rotation.left_size, right_size = rotation.right_size;
    left.values = carver.take<float>(left_floats(rotation));
    left.shape(left_size, left_size, kFloatBlockRows);
    for (int b = 0; b < left.blocks.count(); ++b) {
        const Range rows = left.blocks[b];
        for (int r = rows.begin; r < rows.end; ++r)
            for (int i = 0; i < left.padded_k; ++i)
                left.at(rows, r, i / kChunkFloats)[i % kChunkFloats] =
                    i >= left_size ? 0.0f : inverse ? rotation.left[i * left_size + r] : rotation.left[r * left_size + i];
    }
    for (int panel = 0; panel < right.num_panels(); ++panel) {
        float* to = reinterpret_cast<float*>(const_cast<char*>(right.panel(panel)));
        for (int i = 0; i < right.padded_k(); ++i)
            for (int n = panel * kPanelChannels; n < (panel + 1) * kPanelChannels; ++n, ++to)
                *to = i >= right_size || n >= right_size ? 0.0f
                      : inverse                          ? rotation.right[i * right_size + n]
                                                         : rotation.right[n * right_size + i];
    }
}

void RotationMatrices::carve(const ft_rotation& rotation, Carver& carver) {
    carver.take<char>(right_bytes(rotation));
    carver.take<float>(left_floats(rotation));
}

Rotator::Rotator(const RotationMatrices& matrices, Carver& carver) : matrices_(matrices) {
    const ft_rotation& rotation = matrices.rotation;
    rows_.values = carver.take<float>(rows_floats(rotation));
    products_ = carver.take<float>(products_floats(rotation));
    row_ = carver.take<float>(rotation.right_size);
}

void Rotator::carve(const ft_rotation& rotation, Carver& carver) {
    carver.take<float>(rows_floats(rotation));
    carver.take<float>(products_floats(rotation));
    carver.take<float>(rotation.right_size);
}

void Rotator::turn(const float* row, float* out) {
    const ft_rotation& rotation = matrices_.rotation;
    const FloatMatrix& right = matrices_.right;
    const FloatTile& left = matrices_.left;
    const int left_size = rotation.left_size, right_size = rotation.right_size;
    const FloatBlock block = float_block(FT_FP32);
    fill_tile(rows_, left_size, right_size, [&](int r) {
        const float* const part = row + static_cast<size_t>(r) * right_size;
        if (matrices_.inverse) return part;
        const float* const signs = rotation.signs + static_cast<size_t>(r) * right_size;
        for (int i = 0; i < right_size; ++i) row_[i] = part[i] * signs[i];
        return static_cast<const float*>(row_);
    });
    alignas(64) float sums[kFloatBlockRows * kPanelChannels];
    for (int panel = 0; panel < right.num_panels(); ++panel) {
        float* const products = products_ + static_cast<size_t>(panel) * left.padded_k * kPanelChannels;
        for (int b = 0; b < rows_.blocks.count(); ++b) {
            const Range rows = rows_.blocks[b];
            block(rows.size(), right.padded_k(), rows_.block(b), right.panel(panel), kPanelChannels, false, Prefetch(),
                  products + rows.begin * kPanelChannels);
        }
        std::fill(products + left_size * kPanelChannels, products + left.padded_k * kPanelChannels, 0.0f);
    }
    for (int panel = 0; panel < right.num_panels(); ++panel) {
        const float* const products = products_ + static_cast<size_t>(panel) * left.padded_k * kPanelChannels;
        const int first = panel * kPanelChannels, count = std::min(kPanelChannels, right_size - first);
        for (int b = 0; b < left.blocks.count(); ++b) {
            const Range rows = left.blocks[b];
            block(rows.size(), left.padded_k, left.block(b), products, kPanelChannels, false, Prefetch(), sums);
            for (int r = rows.begin; r < rows.end; ++r) {
                const size_t place = static_cast<size_t>(r) * right_size + first;
                const float* const from = sums + (r - rows.begin) * kPanelChannels;
                if (matrices_.inverse)
                    for (int c = 0; c < count; ++c) out[place + c] = from[c] * rotation.signs[place + c];
                else
                    std::memcpy(out + place, from, count * sizeof *from);
            }
        }
    }
}

size_t rotate_scratch_bytes(const ft_rotation& rotation, int num_threads) {
    Carver carver(nullptr);
    RotationMatrices::carve(rotation, carver);
    for (int thread = 0; thread < num_threads; ++thread) Rotator::carve(rotation, carver);
    return carver.used();
}

void rotate_rows(const RotateCall& call) {
    Carver carver(call.scratch);
    struct Context {
        const RotateCall& call;
        const RotationMatrices matrices;
        char* scratch;
        size_t bytes;
    } context{call, {call.rotation, call.inverse, carver}, nullptr, 0};
    const size_t before = carver.used();
    Rotator::carve(call.rotation, carver);
    context.bytes = carver.used() - before;
    context.scratch = call.scratch + before;
    call.pool.run(
        [](void* opaque, int thread) {
            Context& context = *static_cast<Context*>(opaque);
            const RotateCall& call = context.call;
            Carver carver(context.scratch + thread * context.bytes);
            Rotator rotator(context.matrices, carver);
            const int64_t width = static_cast<int64_t>(call.rotation.left_size) * call.rotation.right_size;
            const int64_t threads = call.pool.num_threads(), end = call.num_rows * (thread + 1) / threads;
            for (int64_t row = call.num_rows * thread / threads; row < end; ++row)
                rotator.turn(call.rows + row * width, call.out + row * width);
        },
        &context);
}

void hadamard_rows(ThreadPool& pool, float* rows, int64_t num_rows, int width) {
    struct Context {
        ThreadPool& pool;
        float* rows;
        int64_t num_rows;
        int width;
    } context{pool, rows, num_rows, width};
    pool.run(
        [](void* opaque, int thread) {
            const Context& context = *static_cast<const Context*>(opaque);
            const int64_t threads = context.pool.num_threads(), end = context.num_rows * (thread + 1) / threads;
            for (int64_t row = context.num_rows * thread / threads; row < end; ++row) {
                float* const x = context.rows + row * context.width;
                rotate_row(x, context.width, x);
            }
        },
        &context);
}

}  // namespace farthing::FT_ISA
