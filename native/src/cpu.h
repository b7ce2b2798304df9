// What this CPU, and the operating system on it, can run.
#pragma once

namespace farthing {

struct Cpu {
    bool avx2 = false;  // all of x86-64-v3, FMA and F16C among it
    bool avxvnni = false;
    bool avx512vnni = false;
    bool avx512bf16 = false;
    bool amx = false;  // granted by Linux
    bool neon_dotprod = false;
    bool neon_i8mm = false;  // with bf16
};

// Asks anew at each call.
Cpu detect_cpu();

}  // namespace farthing
