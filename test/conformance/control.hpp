#pragma once

#include <base/clock.hpp>

#include <semaphore.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace sublet::conformance {

inline constexpr std::uint32_t kMaxWorkers = 8;

/// What a worker shows of itself.
struct WorkerView {
  std::atomic<pid_t> thread{0};
  std::atomic<bool> in_sleep{false};      ///< Inside the channel's sleep().
  std::atomic<std::uint64_t> sleeps{0};   ///< Times it went there.
  std::atomic<std::uint64_t> calls{0};    ///< Ended.
  std::atomic<std::uint64_t> entered{0};  ///< Calls of Function::kWait that have begun.
};

/// What a test and the workers of its executor share, be they threads or another process.
struct Control {
  sem_t gate;  ///< Function::kWait takes one.
  /// Where the executor listens, for a child that was made before it; zero-terminated.
  std::array<char, 256> address{};
  std::atomic<bool> has_address{false};
  std::array<WorkerView, kMaxWorkers> workers;
};

/// Owns a Control in memory that child processes inherit.
class SharedControl {
 public:
  SharedControl();
  SharedControl(const SharedControl&) = delete;
  SharedControl& operator=(const SharedControl&) = delete;
  ~SharedControl();

  [[nodiscard]] Control& operator*() const noexcept { return *control_; }
  [[nodiscard]] Control* operator->() const noexcept { return control_; }

  void publish(const std::string& address);
  /// Waits for publish().
  [[nodiscard]] std::string await_address() const;

  /// Lets `calls` calls of Function::kWait go on.
  void open_gate(std::uint32_t calls = 1) noexcept;

 private:
  Control* control_;
};

}  // namespace sublet::conformance
