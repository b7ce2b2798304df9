// AMX multiplies tiles: up to 16 rows of 64 bytes by 16 columns. A block of up to 32 rows and a panel of 32 columns are four
// tiles of sums, so that each tile that is loaded is multiplied twice. Sums in int32 are exact, so they are what every
// other instruction set gives; sums of bf16 go in one order whatever the number of rows is.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "blocks.h"

namespace farthing::FT_ISA {
namespace {

constexpr int kTile = 16;  // rows of a tile, and its columns of four bytes
constexpr int kRowBytes = kPanelChannels * 4, kSteps = kChunkBytes / 4;
static_assert(kBlockRows == 2 * kTile && kPanelChannels == 2 * kTile);

// The compiler does not know that tiles are loaded from memory: what was stored before has to be there by now.
inline __attribute__((always_inline)) void stores_done() { asm volatile("" : : : "memory"); }

// What LDTILECFG reads. Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns.
struct alignas(64) TileShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {kChunkBytes, kChunkBytes, kChunkBytes, kChunkBytes, kChunkBytes, kChunkBytes, kChunkBytes, kChunkBytes};
    uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

// Rows of the block that this thread's tiles are shaped for; 0 where they are not.
thread_local int shaped_rows = 0;

// Returns the rows that the tiles have: those of the block, or one more, which is read and whose sums are not used. So
// blocks of nearly the same size, which take turns, need no new shapes.
int shape_tiles(int rows) {
    if (shaped_rows == rows || shaped_rows == rows + 1) return shaped_rows;
    const int upper = std::min(rows, kTile), lower = rows > kTile ? rows - kTile : upper;
    TileShapes shapes;
    for (const int tile : {0, 1, 4}) shapes.rows[tile] = static_cast<uint8_t>(upper);
    for (const int tile : {2, 3, 5}) shapes.rows[tile] = static_cast<uint8_t>(lower);
    for (const int tile : {6, 7}) shapes.rows[tile] = kTile;
    stores_done();
    _tile_loadconfig(&shapes);
    return shaped_rows = rows;
}

inline __attribute__((always_inline)) void fetch(Prefetch& next) {
    for (int line = 0; line < next.chunk_bytes; line += 64) _mm_prefetch(next.from + line, _MM_HINT_T0);
    next.skip(1);
}

// Two tiles of rows: sums 0 and 1 are the upper one's, 2 and 3 the lower one's.
void int8_tall(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next, int32_t* sums) {
    stores_done();
    _tile_loadd(0, starts, 0);
    _tile_loadd(1, starts + kTile, 0);
    _tile_loadd(2, starts, 0);
    _tile_loadd(3, starts + kTile, 0);
    for (; chunks > 0; --chunks, a += rows * kChunkBytes, b += kChunkBytes * kPanelChannels) {
        fetch(next);
        _tile_loadd(6, b, kRowBytes);
        _tile_loadd(4, a, kChunkBytes);
        _tile_loadd(7, b + kChunkBytes, kRowBytes);
        _tile_loadd(5, a + kTile * kChunkBytes, kChunkBytes);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums, kRowBytes);
    _tile_stored(1, sums + kTile, kRowBytes);
    _tile_stored(2, sums + kTile * kPanelChannels, kRowBytes);
    _tile_stored(3, sums + kTile * kPanelChannels + kTile, kRowBytes);
}

// One tile of rows: sums 2 and 3 are those of every second chunk, since a tile's next product waits for its last.
void int8_flat(int rows, int chunks, const uint8_t* a, const int8_t* b, const int32_t* starts, Prefetch next, int32_t* sums) {
    alignas(64) int32_t second[kTile * kPanelChannels];
    stores_done();
    _tile_loadd(0, starts, 0);
    _tile_loadd(1, starts + kTile, 0);
    _tile_zero(2);
    _tile_zero(3);
    const int a_chunk = rows * kChunkBytes, b_chunk = kChunkBytes * kPanelChannels;
    const auto multiply_first = [&] {
        fetch(next);
        _tile_loadd(4, a, kChunkBytes);
        _tile_loadd(6, b, kRowBytes);
        _tile_loadd(7, b + kChunkBytes, kRowBytes);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
    };
    for (; chunks > 1; chunks -= 2, a += 2 * a_chunk, b += 2 * b_chunk) {
        multiply_first();
        fetch(next);
        _tile_loadd(5, a + a_chunk, kChunkBytes);
        _tile_loadd(6, b + b_chunk, kRowBytes);
        _tile_loadd(7, b + b_chunk + kChunkBytes, kRowBytes);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    if (chunks > 0) multiply_first();
    _tile_stored(0, sums, kRowBytes);
    _tile_stored(1, sums + kTile, kRowBytes);
    _tile_stored(2, second, kRowBytes);
    _tile_stored(3, second + kTile, kRowBytes);
    for (int i = 0; i < rows * kPanelChannels; i += kTile)
        _mm512_store_si512(sums + i, _mm512_add_epi32(_mm512_load_si512(sums + i), _mm512_load_si512(second + i)));
}

// Sums of bf16 in and out: [rows, 32] as the tiles are shaped.
template <bool kTall, bool kWide>
void bf16_sums(int rows, int steps, const uint16_t* a, const uint16_t* b, bool accumulate, float* sums) {
    constexpr int kLower = kTile * kPanelChannels;
    stores_done();
    if (accumulate) {
        _tile_loadd(0, sums, kRowBytes);
        if (kWide) _tile_loadd(1, sums + kTile, kRowBytes);
        if (kTall) _tile_loadd(2, sums + kLower, kRowBytes);
        if (kTall && kWide) _tile_loadd(3, sums + kLower + kTile, kRowBytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    alignas(64) uint16_t padded[kSteps * kPanelChannels * 2];
    for (; steps > 0; steps -= kSteps, a += rows * kSteps * 2, b += kSteps * kPanelChannels * 2) {
        const uint16_t* columns = b;
        if (steps < kSteps) {  // what lies behind the last step need not be numbers
            std::memcpy(padded, b, steps * kRowBytes);
            std::memset(padded + steps * kPanelChannels * 2, 0, (kSteps - steps) * kRowBytes);
            columns = padded;
            stores_done();
        }
        _tile_loadd(4, a, kChunkBytes);
        _tile_loadd(6, columns, kRowBytes);
        if (kTall) _tile_loadd(5, a + kTile * kSteps * 2, kChunkBytes);
        if (kWide) _tile_loadd(7, columns + kTile * 2, kRowBytes);
        _tile_dpbf16ps(0, 4, 6);
        if (kTall) _tile_dpbf16ps(2, 5, 6);
        if (kWide) _tile_dpbf16ps(1, 4, 7);
        if (kTall && kWide) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, kRowBytes);
    if (kWide) _tile_stored(1, sums + kTile, kRowBytes);
    if (kTall) _tile_stored(2, sums + kLower, kRowBytes);
    if (kTall && kWide) _tile_stored(3, sums + kLower + kTile, kRowBytes);
}

}  // namespace

Multiplying::~Multiplying() {
    _tile_release();  // a core with tiles in use cannot rest, and switching threads takes longer
    shaped_rows = 0;
}

void int8_block(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                int32_t* sums) {
    (shape_tiles(rows) > kTile ? int8_tall : int8_flat)(rows, chunks, a, b, starts, next, sums);
}

void int8_block_scaled(int rows, int chunks, const Input* a, const int8_t* b, const int32_t* starts, Prefetch next,
                       const float* scales, int scale_stride, float* totals) {
    alignas(64) int32_t sums[kBlockRows * kPanelChannels];
    int8_block(rows, chunks, a, b, starts, next, sums);
    for (int r = 0; r < rows; ++r) {
        const __m512 scale = _mm512_set1_ps(scales[r * scale_stride]);
        for (int c = r * kPanelChannels; c < (r + 1) * kPanelChannels; c += kTile)
            _mm512_store_ps(totals + c, _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + c)), scale,
                                                        _mm512_load_ps(totals + c)));
    }
}

void bf16_block(int rows, int steps, const uint16_t* a, const uint16_t* b, int columns, bool accumulate, float* sums) {
    alignas(64) float held[kBlockRows * kPanelChannels];
    const int shaped = shape_tiles(rows);
    float* const to = shaped == rows ? sums : held;  // one row more would be somebody else's
    if (accumulate && to == held) std::memcpy(held, sums, rows * kRowBytes);
    const bool wide = columns == kPanelChannels;
    const auto multiply = shaped > kTile ? (wide ? bf16_sums<true, true> : bf16_sums<true, false>)
                                         : (wide ? bf16_sums<false, true> : bf16_sums<false, false>);
    multiply(rows, steps, a, b, accumulate, to);
    if (to == held) std::memcpy(sums, held, rows * kRowBytes);
}

}  // namespace farthing::FT_ISA
