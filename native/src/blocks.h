// The two multiplications everything is made of, one implementation an instruction set (blocks_*.cpp). Both walk
// through chunks of 64 inputs of a block's rows and a panel of 32 columns, four bytes of a column side by side.
#pragma once

#include <cstdint>
#include <type_traits>

#include "tile.h"

namespace farthing::FT_ISA {

// As many rows as keep their sums in registers; where registers are few, rows in parts of 3, 6 or 12, for which a panel's
// weights are brought into shape once.
#if defined(__ARM_FEATURE_DOTPROD)
constexpr int kBlockRows = 64;
#elif defined(__AMX_INT8__)
constexpr int kBlockRows = 32;
#elif defined(__AVX512F__)
constexpr int kBlockRows = 14;
#else
constexpr int kBlockRows = 18;
#endif

// One quantised input of a row: q + 128 for instructions that multiply unsigned by signed bytes, whose sums start from a
// correction (packed.h), and q itself for those that multiply signed bytes or pairs of 16 bits, whose sums start from 0.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(FT_AVXVNNI_BY_AVX512)
using Input = uint8_t;
#elif defined(__ARM_FEATURE_DOTPROD)
using Input = int8_t;
#else
using Input = int16_t;
#endif
constexpr int kInputOffset = std::is_unsigned<Input>::value ? kActivationOffset : 0;

// Rows of a block lie side by side in a chunk in pieces of so many inputs, or in attention so many numbers of bf16: pieces of
// four rows at a time, for as long as there are four, then of two, then of one. ARM's instructions take inputs of several rows
// from one register, which one load fills so. Where a piece is a whole chunk, what a row has of a chunk lies together.
#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int kPieceInputs = 8, kPieceBf16 = 4;
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr int kPieceInputs = 4, kPieceBf16 = kChunkBytes;
#else
constexpr int kPieceInputs = kChunkBytes, kPieceBf16 = kChunkBytes;
#endif

// A number of a row that bf16_block multiplies: NEON by lane multiplies fp32, so rows are not rounded to bf16 first.
#if defined(__ARM_FEATURE_DOTPROD) && !defined(__ARM_FEATURE_MATMUL_INT8)
using RowNumber = float;
#else
using RowNumber = uint16_t;
#endif
constexpr int kChunkNumbers = kChunkBytes / sizeof(RowNumber);

// Of a row: where its first piece is in a chunk of its block, and how far apart its pieces are.
struct RowPlace {
    int first, stride;
};
template <int kChunk, int kPiece>
inline RowPlace row_place(int rows, int r) {
    if (kPiece == kChunk) return {r * kChunk, kChunk};
    const int together = r < rows / 4 * 4 ? 4 : r < rows / 2 * 2 ? 2 : 1, first = r / together * together;
    return {first * kChunk + (r - first) * kPiece, together * kPiece};
}

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

// What a block fetches into the cache on the way: the weights come from memory, and the CPU's own prefetching stops at every
// page.
struct Prefetch {
    const int8_t* from;  // may point anywhere
    int chunk_bytes;     // a multiple of 64, fetched in each chunk

    Prefetch() : from(nullptr), chunk_bytes(0) {}
    // A panel's blocks fetch the next panel together; panel_chunk_bytes: of the panel in each chunk.
    Prefetch(const void* panel, int num_chunks, int block, int num_blocks, int panel_chunk_bytes = kChunkBytes * kPanelChannels)
        : from(static_cast<const int8_t*>(panel)), chunk_bytes(static_cast<int>(round_up(panel_chunk_bytes / num_blocks, 64))) {
        skip(block * num_chunks);
    }
    void skip(int chunks) { from += static_cast<int64_t>(chunks) * chunk_bytes; }
};

// sums [rows, 32] = starts [32] + a b (or a b alone where inputs have no offset), with room for kBlockRows rows: a as in
// QuantizedTile, b a panel of a PackedMatrix.
void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                int32_t* sums);

// Likewise, row r of the sums times scales[r * scale_stride] added to row r of `totals` [rows, 32] while they are in registers.
void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals);

// sums [rows, 32] (+)= a b in bf16 pairs: a [chunks of 64 bytes][rows][kChunkNumbers], or in pieces; b [steps][32 columns][2].
// A step is two numbers of a row; steps are a multiple of kStepUnit. Of 32 sums, only the first `columns` (16 or 32) need be right.
constexpr int kStepUnit = 4;
void bf16_block(int rows, int steps, const RowNumber* a, const uint16_t* b, int columns, bool accumulate, float* sums);

}  // namespace farthing::FT_ISA
