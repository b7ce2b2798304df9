// A team of threads that runs one function on every thread, and a barrier for use inside of it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "profile.h"

namespace farthing {

// Spins first (stages end within microseconds of each other), then yields, so that a thread that shares its core with
// another program does not burn the time the one it waits for needs.
class Barrier {
public:
    explicit Barrier(int num_threads) : num_threads_(num_threads) {}
    void wait();

private:
    const int num_threads_;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> phase_{0};
};

constexpr int kMaxThreads = 256;

class ThreadPool {
public:
    using Task = void (*)(void* context, int thread);

    explicit ThreadPool(int num_threads);  // throws std::system_error where a thread is refused
    ~ThreadPool();

    int num_threads() const { return num_threads_; }
    Barrier& barrier() { return barrier_; }
    Profile& profile(int thread) { return profiles_[thread]; }

    // Runs task(context, thread) on all threads, the caller being thread 0; returns when all are done.
    void run(Task task, void* context);

    // Wakes threads that sleep, for a task that will come at once. Any thread may call it, during a task too.
    void rouse();

private:
    void work(int thread);
    void await_task(uint32_t seen);
    void stop();

    const int num_threads_;
    Barrier barrier_;
    std::vector<Profile> profiles_;
    std::vector<std::thread> workers_;
    Task task_ = nullptr;
    void* context_ = nullptr;
    alignas(64) std::atomic<uint32_t> generation_{0};
    alignas(64) std::atomic<int> running_{0};
    std::atomic<int> parked_{0};
    std::atomic<uint32_t> roused_{0};
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::condition_variable wake_;
};

}  // namespace farthing
