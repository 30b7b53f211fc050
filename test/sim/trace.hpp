#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace sublet::sim {

/// What has happened in a simulation, as a number: two runs that differ anywhere differ in it. A
/// value.
class Trace {
 public:
  /// Also prints each event.
  void print() { prints_ = true; }
  void note(std::chrono::nanoseconds when, std::string_view what) {
    mix(static_cast<std::uint64_t>(when.count()));
    for (const char c : what) mix(static_cast<unsigned char>(c));
    ++events_;
    if (prints_) {
      std::printf("%12.6f  %.*s\n", static_cast<double>(when.count()) / 1e9,
                  static_cast<int>(what.size()), what.data());
    }
  }
  [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
  [[nodiscard]] bool prints() const noexcept { return prints_; }

 private:
  void mix(std::uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001b3; }  // FNV-1a

  std::uint64_t hash_ = 0xcbf29ce484222325;
  std::uint64_t events_ = 0;
  bool prints_ = false;
};

}  // namespace sublet::sim
