#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include <cstdint>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif
#endif

namespace farthing {

#if defined(__x86_64__)

namespace {

struct Registers {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros where the CPU does not know the leaf. Not __builtin_cpu_supports: compilers differ in the names that they know.
Registers cpuid(uint32_t leaf, uint32_t subleaf) {
    Registers r;
    if (__get_cpuid_max(leaf & 0x80000000u, nullptr) >= leaf) __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

constexpr bool has(uint32_t word, int bit) { return word >> bit & 1; }

// The registers that the operating system saves.
uint64_t saved_registers() {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<uint64_t>(high) << 32 | low;
}

// Linux gives a process AMX's tiles when it asks for them, since they make the frames of its signals larger.
bool tiles_granted() {
#if defined(__linux__)
    constexpr long kArchPrctl = 158, kRequestFeature = 0x1023, kTileData = 18;
    return syscall(kArchPrctl, kRequestFeature, kTileData) == 0;
#else
    return false;
#endif
}

}  // namespace

Cpu detect_cpu() {
    Cpu cpu;
    const Registers basic = cpuid(1, 0), wide = cpuid(7, 0), more = cpuid(7, 1), extended = cpuid(0x80000001u, 0);
    constexpr int kOsxsave = 27, kAvx = 28, kFma = 12, kMovbe = 22, kF16c = 29;  // in basic.ecx
    constexpr int kBmi1 = 3, kAvx2 = 5, kBmi2 = 8;                                // in wide.ebx
    constexpr int kLzcnt = 5;                                                     // in extended.ecx
    if (!has(basic.ecx, kOsxsave) || !has(basic.ecx, kAvx)) return cpu;
    const uint64_t saved = saved_registers();
    constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;
    // All of x86-64-v3, since the compiler may use all of it.
    cpu.avx2 = (saved & kYmm) == kYmm && has(wide.ebx, kAvx2) && has(basic.ecx, kFma) && has(basic.ecx, kF16c) &&
               has(basic.ecx, kMovbe) && has(wide.ebx, kBmi1) && has(wide.ebx, kBmi2) && has(extended.ecx, kLzcnt);
    cpu.avxvnni = cpu.avx2 && has(more.eax, 4);
    constexpr int kF = 16, kDq = 17, kBw = 30, kVl = 31, kCd = 28;
    const bool avx512 = cpu.avx2 && (saved & kZmm) == kZmm && has(wide.ebx, kF) && has(wide.ebx, kDq) && has(wide.ebx, kBw) &&
                        has(wide.ebx, kVl) && has(wide.ebx, kCd);
    cpu.avx512vnni = avx512 && has(wide.ecx, 11);
    cpu.avx512bf16 = cpu.avx512vnni && has(more.eax, 5);
#if defined(FT_TEST_AVXVNNI)
    cpu.avxvnni = cpu.avx512vnni;
#endif
    constexpr int kAmxBf16 = 22, kAmxTile = 24, kAmxInt8 = 25;
    cpu.amx = cpu.avx512bf16 && (saved & kTiles) == kTiles && has(wide.edx, kAmxBf16) && has(wide.edx, kAmxTile) &&
              has(wide.edx, kAmxInt8) && tiles_granted();
    return cpu;
}

#elif defined(__aarch64__)

Cpu detect_cpu() {
    Cpu cpu;
#if defined(__linux__)
    // By their numbers, which are the kernel's: older headers do not name all of them.
    constexpr unsigned long kDotProd = 1ul << 20, kI8mm = 1ul << 13, kBf16 = 1ul << 14;
    cpu.neon_dotprod = getauxval(AT_HWCAP) & kDotProd;
    const unsigned long more = getauxval(AT_HWCAP2);
    cpu.neon_i8mm = cpu.neon_dotprod && (more & kI8mm) && (more & kBf16);
#elif defined(__APPLE__)
    const auto has = [](const char* name) {
        int value = 0;
        size_t size = sizeof value;
        return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
    };
    cpu.neon_dotprod = has("hw.optional.arm.FEAT_DotProd");
    cpu.neon_i8mm = cpu.neon_dotprod && has("hw.optional.arm.FEAT_I8MM") && has("hw.optional.arm.FEAT_BF16");
#elif defined(_WIN32)
    constexpr DWORD kDotProd = 43, kI8mm = 66, kBf16 = 68;  // PF_ARM_V82_DP, PF_ARM_V82_I8MM, PF_ARM_V86_BF16
    cpu.neon_dotprod = IsProcessorFeaturePresent(kDotProd);
    cpu.neon_i8mm = cpu.neon_dotprod && IsProcessorFeaturePresent(kI8mm) && IsProcessorFeaturePresent(kBf16);
#endif
    return cpu;
}

#else

Cpu detect_cpu() { return {}; }

#endif

}  // namespace farthing
