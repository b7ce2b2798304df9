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

// The name of the best instruction set of native/build_native.py that it can run, compiled or not.
inline const char* best_isa(const Cpu& cpu) {
    if (cpu.amx) return "amx";
    if (cpu.avx512bf16) return "avx512bf16";
    if (cpu.avx512vnni) return "avx512vnni";
    if (cpu.avxvnni) return "avxvnni";
    if (cpu.avx2) return "avx2";
    if (cpu.neon_i8mm) return "neon_i8mm";
    if (cpu.neon_dotprod) return "neon_dotprod";
    return "portable";
}

}  // namespace farthing
