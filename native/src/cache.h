// What the operating system says of the CPU's caches.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <unistd.h>
#endif

namespace farthing {

// Of one core; 1 MiB where it is not known.
inline int64_t l2_cache_bytes() {
    static const int64_t found = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
        if (const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE); bytes > 0) return bytes;
#endif
        return int64_t{1} << 20;
    }();
    return found;
}

}  // namespace farthing
