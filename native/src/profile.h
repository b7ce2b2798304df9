// Cycles by stage, counted only in builds with FT_PROFILE.
#pragma once

#include <cstdint>

namespace farthing {

enum class Stage { kNorm, kQkv, kRope, kAttention, kOutput, kGateUp, kDown, kQuantize, kWait, kCount };

struct alignas(64) Profile {
    uint64_t cycles[static_cast<int>(Stage::kCount)] = {};
};

class StageTimer {
public:
#ifdef FT_PROFILE
    StageTimer(Profile& profile, Stage stage)
        : cycles_(profile.cycles[static_cast<int>(stage)]), start_(__builtin_ia32_rdtsc()) {}
    ~StageTimer() { cycles_ += __builtin_ia32_rdtsc() - start_; }

private:
    uint64_t& cycles_;
    const uint64_t start_;
#else
    StageTimer(Profile&, Stage) {}
    ~StageTimer() {}  // user-provided, so that an unused timer is no warning
#endif
};

}  // namespace farthing
