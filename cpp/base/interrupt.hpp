// Ends a long call early, at the wish of its caller.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <thread>

namespace nestling {

// While it exists, the work of its thread, and of those that help it (base/pool.hpp), can be ended.
//
//   const Interruptible interruptible([] { if (user_pressed_a_key()) throw Stopped(); });
//   index.search(…);  // throws Stopped
//
// `poll` ends the work by throwing, and is only called on the thread that made the object, at most
// once in kPollInterval.
class Interruptible {
 public:
  static constexpr std::chrono::milliseconds kPollInterval{50};

  explicit Interruptible(std::function<void()> poll);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

  // Throws what `poll` threw, on any thread.
  void rethrow_if_stopped() const;

 private:
  friend void check_interrupt();
  void poll();

  std::function<void()> poll_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::chrono::steady_clock::time_point due_;
  std::atomic<bool> stopped_{false};
  std::exception_ptr error_;  // written before stopped_ is set
  Interruptible* outer_;      // the one that this one hides
};

// Throws if the work of this thread was ended. Call it every few milliseconds of work; a call takes
// some 30 ns.
void check_interrupt();

// The work of this thread, to be passed to the threads that help it; null if it cannot be ended.
Interruptible* current_work();

// While it exists, this thread helps with the work of another, the current_work() of that one.
class Helping {
 public:
  explicit Helping(Interruptible* work);
  ~Helping();
  Helping(const Helping&) = delete;
  Helping& operator=(const Helping&) = delete;
};

}  // namespace nestling
