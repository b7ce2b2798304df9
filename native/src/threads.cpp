#include "threads.h"

#include <chrono>
#include <thread>

namespace farthing {
namespace {

constexpr int kSpins = 4000;  // about 50 microseconds
// How long a worker stays awake for the next layer's call; after it, the core is free for others (PyTorch's threads).
constexpr std::chrono::microseconds kAwake{200};

// Tells the core that it waits. ARM's `yield` does nothing on most cores; `isb` takes about as long as x86's `pause`.
inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

template <class Done>
void spin_then_yield(Done done) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (done()) return;
        relax();
    }
    while (!done()) std::this_thread::yield();
}

}  // namespace

void Barrier::wait() {
    const uint32_t phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads_) {
        arrived_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        return;
    }
    spin_then_yield([&] { return phase_.load(std::memory_order_acquire) != phase; });
}

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads), barrier_(num_threads), profiles_(num_threads) {
    try {
        for (int thread = 1; thread < num_threads; ++thread) workers_.emplace_back([this, thread] { work(thread); });
    } catch (...) {
        stop();
        throw;
    }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
    stopping_.store(true);
    generation_.fetch_add(1);
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(Task task, void* context) {
    task_ = task;
    context_ = context;
    running_.store(num_threads_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1);  // sequentially consistent, like parked_: either we see a parked worker or it sees this
    if (parked_.load() > 0) {
        { std::lock_guard<std::mutex> lock(mutex_); }
        wake_.notify_all();
    }
    task(context, 0);
    spin_then_yield([this] { return running_.load(std::memory_order_acquire) == 0; });
}

void ThreadPool::rouse() {
    if (parked_.load() == 0) return;
    roused_.fetch_add(1);
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
}

void ThreadPool::await_task(uint32_t seen) {
    while (generation_.load(std::memory_order_acquire) == seen) {
        const uint32_t roused = roused_.load();
        const auto deadline = std::chrono::steady_clock::now() + kAwake;
        do {
            for (int spin = 0; spin < 200; ++spin) {
                if (generation_.load(std::memory_order_acquire) != seen) return;
                relax();
            }
        } while (std::chrono::steady_clock::now() < deadline);
        std::unique_lock<std::mutex> lock(mutex_);
        parked_.fetch_add(1);
        wake_.wait(lock, [&] { return generation_.load() != seen || roused_.load() != roused; });
        parked_.fetch_sub(1);
    }
}

void ThreadPool::work(int thread) {
    for (uint32_t seen = 0;; ++seen) {
        await_task(seen);
        if (stopping_.load()) return;
        task_(context_, thread);
        running_.fetch_sub(1, std::memory_order_release);
    }
}

}  // namespace farthing
