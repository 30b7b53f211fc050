#pragma once

#include <chrono>
#include <thread>

namespace sublet::test {

/// Asks `condition` again and again until it is true; false after `limit`. For what nothing
/// announces: a file, the state of a thread, a counter in shared memory.
template <class Condition>
bool eventually(Condition&& condition,
                std::chrono::nanoseconds limit = std::chrono::milliseconds(30'000)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (unsigned round = 0; !condition(); ++round) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    // Soon when it takes microseconds, and leaving the core to others when it takes longer.
    if (round < 100) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // tidy-allow: between two looks
    }
  }
  return true;
}

}  // namespace sublet::test
