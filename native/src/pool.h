// What the C interface calls a pool: a team of threads, and the kernels it runs.
#pragma once

#include "isa.h"
#include "threads.h"

struct ft_pool {
    ft_pool(int num_threads, const farthing::Kernels& kernels) : threads(num_threads), kernels(kernels) {}
    farthing::ThreadPool threads;
    const farthing::Kernels& kernels;
};
