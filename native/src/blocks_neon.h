// What the blocks of ARM's instruction sets share. NEON has 32 registers of 16 bytes: 24 of them hold the sums of 6 rows by half
// a panel (16 columns). So a block is computed in parts of at most 6 rows, each from one half of the panel and then the other.
//
// The 8 registers that are left are few: a compiler that moves loads ahead of their use would have to put sums into memory.
#pragma once

#include <arm_neon.h>

#include <cstring>
#include <type_traits>

#include "blocks.h"
#include "lanes.h"

namespace farthing::FT_ISA {

constexpr int kPartRows = 6, kHalfColumns = kPanelChannels / 2, kHalfVectors = kHalfColumns / 4;
constexpr int kUnitBytes = 16;  // of a row, loaded at once: four groups of four bytes
constexpr int kChunkUnits = kChunkBytes / kUnitBytes;

// The compiler moves no load from behind it to before it.
FT_INLINE void load_no_earlier() { __asm__ volatile("" ::: "memory"); }

// Calls use(std::integral_constant<int, count>), of 1 to 6.
template <class Use>
FT_INLINE void with_count(int count, Use use) {
    switch (count) {
        case 1: use(std::integral_constant<int, 1>{}); break;
        case 2: use(std::integral_constant<int, 2>{}); break;
        case 3: use(std::integral_constant<int, 3>{}); break;
        case 4: use(std::integral_constant<int, 4>{}); break;
        case 5: use(std::integral_constant<int, 5>{}); break;
        default: use(std::integral_constant<int, kPartRows>{}); break;
    }
}

// Calls use(std::integral_constant<int, rows of the part>, its first row).
template <class Use>
inline void for_each_part(int rows, int most_rows, Use use) {
    const RowBlocks parts(rows, most_rows);
    for (int index = 0; index < parts.count(); ++index)
        with_count(parts[index].size(), [=](auto count) { use(count, parts[index].begin); });
}

inline void prefetch(Prefetch next, int chunks) {
    for (int line = 0; line < chunks * next.chunk_bytes; line += 64) __builtin_prefetch(next.from + line);
}

}  // namespace farthing::FT_ISA
