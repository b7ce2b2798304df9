#pragma once

#include "tile.h"

namespace farthing::FT_ISA {

// `out` = silu(gate) * up for the groups of kGroupInputs channels in `groups`, rotated (rotate.h) and quantised with a scale a
// group; `gate_up` holds gate's panels, then up's. `out` must have its shape; buffer: [kTileRows][kGroupStride].
void gate_up(const QuantizedTile& a, const PackedMatrix& gate_up, Range groups, float* buffer, QuantizedTile& out);

}  // namespace farthing::FT_ISA
