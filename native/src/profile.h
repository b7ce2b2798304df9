// Cycles by stage, counted only in builds with FT_PROFILE.
#pragma once

#include <cstdint>

namespace farthing {

enum class Stage { kNorm, kQkv, kRope, kAttention, kOutput, kGateUp, kDown, kQuantize, kWait, kCount };

inline uint64_t cycle_count() {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;  // of a clock that is slower than the core's
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return 0;
#endif
}

struct alignas(64) Profile {
    uint64_t cycles[static_cast<int>(Stage::kCount)] = {};
};

class StageTimer {
public:
#ifdef FT_PROFILE
    StageTimer(Profile& profile, Stage stage)
        : cycles_(profile.cycles[static_cast<int>(stage)]), start_(cycle_count()) {}
    ~StageTimer() { cycles_ += cycle_count() - start_; }

private:
    uint64_t& cycles_;
    const uint64_t start_;
#else
    StageTimer(Profile&, Stage) {}
    ~StageTimer() {}  // user-provided, so that an unused timer is no warning
#endif
};

}  // namespace farthing
