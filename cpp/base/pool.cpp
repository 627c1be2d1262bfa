#include "base/pool.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/interrupt.hpp"

#if defined(__linux__)
#include <sched.h>
#endif

namespace nestling {
namespace {

// Waking a sleeping thread takes tens of microseconds, as long as a small search. So a thread that
// waits for work, or for the end of it, spins this long before it sleeps: consecutive searches find
// their helpers awake, and an idle process sleeps. This is why the pool is our own, as general ones
// put their threads to sleep at once: two threads answer a query of 100,000 rows in 0.6 to 0.7 of
// the time of one.
constexpr std::chrono::microseconds kSpinTime{50};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Returns whether `happened` became true within kSpinTime.
template <class Condition>
bool spin_until(Condition happened) {
  constexpr int kSpinsPerClockRead = 64;
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kSpinsPerClockRead; ++i) {
      if (happened()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// One call of parallel_for. Each thread that works on it takes the next index until none is left.
struct Job {
  Job(std::size_t n, const std::function<void(std::size_t)>& f) : count(n), task(f) {}

  void work() {
    for (std::size_t i; (i = next.fetch_add(1)) < count;) {
      try {
        check_interrupt();
        task(i);
      } catch (...) {
        keep_error();
      }
      if (done.fetch_add(1) + 1 == count) {
        const std::lock_guard lock(mutex);
        finished.notify_all();
      }
    }
  }

  void wait() {
    const auto is_done = [&] { return done.load() == count; };
    spin_until(is_done);
    std::unique_lock lock(mutex);
    while (!finished.wait_for(lock, Interruptible::kPollInterval, is_done)) {
      lock.unlock();
      try {
        check_interrupt();  // the helpers see it too, and end soon
      } catch (...) {
        keep_error();
      }
      lock.lock();
    }
    // Moved out, so that the caller's thread frees it rather than whichever drops the job last.
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }

  void keep_error() {
    const std::lock_guard lock(mutex);
    if (!error) error = std::current_exception();
  }

  const std::size_t count;
  // Of the thread that waits; outlives the calls of `task`.
  Interruptible* const interruptible = current_work();
  // Outlives every use: work() calls it only for i < count, and wait() returns after those calls.
  const std::function<void(std::size_t)>& task;
  std::atomic<std::size_t> next{0}, done{0};
  std::mutex mutex;
  std::condition_variable finished;
  std::exception_ptr error;
};

class Pool {
 public:
  // Offers a job to `helpers` threads beside the caller's, and starts those that are missing.
  void offer(const std::shared_ptr<Job>& job, std::size_t helpers) {
    {
      const std::lock_guard lock(mutex_);
      try {
        for (; started_ < helpers; ++started_) std::thread([this] { serve(); }).detach();
      } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
        // The system refuses more threads: the existing ones and the caller's do the work.
      }
      for (std::size_t i = 0; i < helpers; ++i) offers_.push_back(job);
      offered_.store(offers_.size());
    }
    if (helpers == 1)
      awake_.notify_one();
    else
      awake_.notify_all();
  }

 private:
  void serve() {
    for (;;) {
      std::shared_ptr<Job> job;
      spin_until([&] { return offered_.load() > 0; });
      {
        std::unique_lock lock(mutex_);
        awake_.wait(lock, [&] { return !offers_.empty(); });
        job = std::move(offers_.front());
        offers_.pop_front();
        offered_.store(offers_.size());
      }
      const Helping helping(job->interruptible);
      job->work();
    }
  }

  std::mutex mutex_;
  std::condition_variable awake_;
  std::deque<std::shared_ptr<Job>> offers_;
  std::atomic<std::size_t> offered_{0};  // offers_.size(), readable without the mutex
  std::size_t started_ = 0;
};

// The pool is never destroyed, because its threads may outlive static destructors. A fork copies
// none of its threads, so the child starts a new pool and leaks its copy of the parent's, whose
// locks may be in any state.
std::atomic<Pool*> current{nullptr};

Pool& pool() {
  static const bool registered = [] {
    pthread_atfork(nullptr, nullptr, [] { current.store(nullptr); });
    return true;
  }();
  static_cast<void>(registered);
  Pool* found = current.load();
  if (found == nullptr) {
    auto made = std::make_unique<Pool>();
    if (current.compare_exchange_strong(found, made.get())) return *made.release();
  }
  return *found;
}

}  // namespace

std::size_t default_threads() {
#if defined(__linux__)
  cpu_set_t granted;
  if (sched_getaffinity(0, sizeof granted, &granted) == 0)
    return static_cast<std::size_t>(std::max(1, CPU_COUNT(&granted)));
#endif
  return std::max(1U, std::thread::hardware_concurrency());
}

void parallel_for(std::size_t count, std::size_t threads,
                  const std::function<void(std::size_t)>& task) {
  const std::size_t helpers = std::min(count, threads);
  if (helpers <= 1) {
    for (std::size_t i = 0; i < count; ++i) {
      check_interrupt();
      task(i);
    }
    return;
  }
  const auto job = std::make_shared<Job>(count, task);
  pool().offer(job, helpers - 1);
  job->work();
  job->wait();
}

}  // namespace nestling
