// What the blocks of ARM's instruction sets share. NEON has 32 registers of 16 bytes: 24 of them hold the sums of 12 rows by 8
// columns. So a block is computed in parts of at most 12 rows, each going through a quarter of the panel after the other. Of the
// shapes that 24 registers have room for, this one needs the fewest loads, since a load takes two registers of neighbours.
//
// The 8 registers that are left are few: a compiler that moves loads ahead of their use would have to put sums into memory. And
// the instructions that add to sums are written as such, since GCC 12 would copy sums between registers for the intrinsics; they
// are volatile, so that they stay where they are between the loads.
#pragma once

#include <arm_neon.h>

#include <type_traits>
#include <utility>

#include "blocks.h"
#include "lanes.h"

namespace farthing::FT_ISA {

constexpr int kQuadRows = 4, kQuadBytes = kQuadRows * kChunkBytes;  // rows that lie together (blocks.h), in one chunk
constexpr int kPartRows = 12, kPartQuads = kPartRows / kQuadRows;
constexpr int kPartColumns = 8, kPartsOfPanel = kPanelChannels / kPartColumns;

// The compiler moves no load from behind it to before it.
FT_INLINE void load_no_earlier() { __asm__ volatile("" ::: "memory"); }

// The compiler computes no addresses ahead from what it is before it.
FT_INLINE void hold(const int8_t*& pointer) { __asm__("" : "+r"(pointer)); }

template <class Use, int... kIndex>
FT_INLINE void each(std::integer_sequence<int, kIndex...>, Use use) {
    (use(std::integral_constant<int, kIndex>{}), ...);
}
// Calls use(std::integral_constant<int, i>) for i from 0 to count: lanes are named by constants.
template <int count, class Use>
FT_INLINE void each(Use use) {
    each(std::make_integer_sequence<int, count>{}, use);
}

// Calls use(std::integral_constant<int, count>), of 1 to kMost.
template <int kMost, class Use>
FT_INLINE void with_count(int count, Use use) {
    each<kMost>([&](auto fewer) FT_INLINED {
        if (count == kMost - fewer) use(std::integral_constant<int, kMost - fewer>{});
    });
}

// Calls use(std::integral_constant<int, rows of the part>, its first row) for parts of whole quads, but for the last.
template <class Use>
inline void for_each_part(int rows, Use use) {
    const RowBlocks parts((rows + kQuadRows - 1) / kQuadRows, kPartQuads);
    for (int index = 0; index < parts.count(); ++index) {
        const int first = parts[index].begin * kQuadRows, end = std::min(parts[index].end * kQuadRows, rows);
        with_count<kPartRows>(end - first, [=](auto count) FT_INLINED { use(count, first); });
    }
}

inline void prefetch(Prefetch next, int chunks) {
#pragma GCC unroll 4
    for (int line = 0; line < chunks * next.chunk_bytes; line += 64) __builtin_prefetch(next.from + line);
}

}  // namespace farthing::FT_ISA
