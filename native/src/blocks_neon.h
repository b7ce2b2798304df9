// What the blocks of ARM's instruction sets share. NEON has 32 registers of 16 bytes: 24 of them hold the sums of 6 rows by half
// a panel (16 columns). So a block is computed in parts of at most 6 rows, each from one half of the panel and then the other.
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

// Calls use(std::integral_constant<int, rows of the part>, its first row).
template <class Use>
inline void for_each_part(int rows, Use use) {
    const RowBlocks parts(rows, kPartRows);
    for (int index = 0; index < parts.count(); ++index) {
        const Range part = parts[index];
        switch (part.size()) {
            case 1: use(std::integral_constant<int, 1>{}, part.begin); break;
            case 2: use(std::integral_constant<int, 2>{}, part.begin); break;
            case 3: use(std::integral_constant<int, 3>{}, part.begin); break;
            case 4: use(std::integral_constant<int, 4>{}, part.begin); break;
            case 5: use(std::integral_constant<int, 5>{}, part.begin); break;
            default: use(std::integral_constant<int, 6>{}, part.begin); break;
        }
    }
}

inline void prefetch(Prefetch next, int chunks) {
    for (int line = 0; line < chunks * next.chunk_bytes; line += 64) __builtin_prefetch(next.from + line);
}

}  // namespace farthing::FT_ISA
