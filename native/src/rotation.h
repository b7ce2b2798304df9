// Rows times R = (left kron right) diag(signs), or its transpose: a row is a matrix X [left_size, right_size], and R x is
// left (X signs) right^T; R^T x is (left^T X right) signs. Both products are those of float_block.
#pragma once

#include "../include/farthing_native.h"
#include "floats.h"
#include "scratch.h"

namespace farthing::FT_ISA {

// Laid out for the products; the matrices are read by all threads.
class RotationMatrices {
public:
    RotationMatrices(const ft_rotation& rotation, bool inverse, Carver& carver);
    // Carves without writing.
    static void carve(const ft_rotation& rotation, Carver& carver);

    const ft_rotation& rotation;
    const bool inverse;
    FloatTile left;      // as rows
    FloatMatrix right;
};

// One thread's.
class Rotator {
public:
    Rotator(const RotationMatrices& matrices, Carver& carver);
    static void carve(const ft_rotation& rotation, Carver& carver);

    // out = the rotated row; they may be the same.
    void turn(const float* row, float* out);

private:
    const RotationMatrices& matrices_;
    FloatTile rows_;   // X
    float* products_;  // what the first product makes of it, as panels [right_size / 32][left_size][32]
    float* row_;       // [right_size]
};

}  // namespace farthing::FT_ISA
