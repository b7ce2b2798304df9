// Carves one caller-owned block of memory into aligned pieces; run once without a block, it says how large that must be.
#pragma once

#include <cstddef>

#include "packed.h"

namespace farthing {

class Carver {
public:
    explicit Carver(char* base) : base_(base) {}

    template <class T>
    T* take(size_t count) {
        T* const piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
        used_ += static_cast<size_t>(round_up(static_cast<int64_t>(count * sizeof(T)), 64));
        return piece;
    }
    size_t used() const { return used_; }

private:
    char* base_;
    size_t used_ = 0;
};

}  // namespace farthing
