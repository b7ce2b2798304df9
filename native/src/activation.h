#pragma once

#include "tile.h"

namespace farthing::FT_ISA {

// out [rows, intermediate] = silu(gate) * up for the channels of `panels`; `gate_up` holds gate's panels, then up's.
void gate_up(const QuantizedTile& a, const PackedMatrix& gate_up, Range panels, float* out, size_t stride);

}  // namespace farthing::FT_ISA
