#include "base/interrupt.hpp"

#include <utility>

namespace nestling {
namespace {

thread_local Interruptible* work = nullptr;

}  // namespace

Interruptible::Interruptible(std::function<void()> poll)
    : poll_(std::move(poll)),
      due_(std::chrono::steady_clock::now() + kPollInterval),
      outer_(std::exchange(work, this)) {}

Interruptible::~Interruptible() {
  work = outer_;
}

void Interruptible::rethrow_if_stopped() const {
  if (stopped_.load(std::memory_order_acquire)) std::rethrow_exception(error_);
}

void Interruptible::poll() {
  const auto now = std::chrono::steady_clock::now();
  if (now < due_) return;
  due_ = now + kPollInterval;
  try {
    poll_();
  } catch (...) {
    error_ = std::current_exception();
    stopped_.store(true, std::memory_order_release);
  }
}

void check_interrupt() {
  if (work == nullptr) return;
  work->rethrow_if_stopped();
  if (std::this_thread::get_id() != work->owner_) return;
  work->poll();
  work->rethrow_if_stopped();
}

Interruptible* current_work() {
  return work;
}

Helping::Helping(Interruptible* helped) {
  work = helped;
}

Helping::~Helping() {
  work = nullptr;
}

}  // namespace nestling
