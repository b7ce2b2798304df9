// fp32 rows to int8. Values are stored as the kernels read them (Input in blocks.h).
#include "quantize.h"

#include "rotate.h"

namespace farthing::FT_ISA {
void quantize_group(float* x, size_t stride, int group, int width, bool rotates, QuantizedTile& out) {
    const int num_groups = out.num_groups();
    for_each_row(out, [&](int r, InputPlace place) {
        place.first += group * (kGroupInputs / kChunkBytes) * place.chunk_stride;
        if (rotates) rotate_row(x + r * stride, width, x + r * stride);
        out.scales[r * num_groups + group] = quantize_row(x + r * stride, width, place);
    });
}

}  // namespace farthing::FT_ISA
