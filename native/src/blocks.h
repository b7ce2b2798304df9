// The two multiplications everything is made of, one implementation an instruction set (blocks_*.cpp). Both walk
// through 64-byte chunks of a block's rows and a panel of 32 columns, four bytes of a column side by side.
#pragma once

#include <cstdint>

#include "tile.h"

namespace farthing::FT_ISA {

// As many rows as keep their sums in registers.
#if defined(__AMX_INT8__)
constexpr int kBlockRows = 32;
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr int kBlockRows = 18;  // in parts of 6 (blocks_neon.h)
#else
constexpr int kBlockRows = 14;
#endif

// A thread has one as long as it multiplies: AMX's tiles are given back at its end.
struct Multiplying {
    Multiplying() = default;
    Multiplying(const Multiplying&) = delete;
#if defined(__AMX_INT8__)
    ~Multiplying();
#else
    ~Multiplying() {}  // not "= default", so that it may stand unused
#endif
};

// sums [rows, 32] = starts [32] + a b, with room for kBlockRows rows: a as in QuantizedTile, b a panel of a PackedMatrix. On
// the way, what `next` says is fetched into the cache: the weights come from memory, and the CPU's own prefetching stops at
// every page.
struct Prefetch {
    const int8_t* from;  // may point anywhere
    int chunk_bytes;     // a multiple of 64, fetched in each chunk

    // A panel's blocks fetch the next panel together.
    Prefetch(const int8_t* panel, int num_chunks, int block, int num_blocks)
        : from(panel), chunk_bytes(static_cast<int>(round_up(kChunkBytes * kPanelChannels / num_blocks, 64))) {
        skip(block * num_chunks);
    }
    void skip(int chunks) { from += static_cast<int64_t>(chunks) * chunk_bytes; }
};
void int8_block(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next,
                int32_t* sums);

// Likewise, row r of the sums times scales[r * scale_stride] added to row r of `totals` [rows, 32] while they are in registers.
void int8_block_scaled(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals);

// sums [rows, 32] (+)= a b in bf16 pairs: a [ceil(steps / 16)][rows][16 steps][2], b [steps][32 columns][2]; steps a multiple
// of kStepUnit. Of 32 sums, only the first `columns` (16 or 32) need be right.
constexpr int kStepUnit = 4;
void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums);

}  // namespace farthing::FT_ISA
