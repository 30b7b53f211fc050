#pragma once

#include <wire/address.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace sublet::test {

/// What a client says to a manager, as bytes: its greeting and many calls that take no cores.
std::vector<std::byte> record_calls_to_resource_manager();
std::vector<std::byte> record_calls_to_executor_manager();

/// Unlucky and hostile neighbours of a manager's clients: connections to one address that say
/// nothing, random bytes, or a recorded exchange with flipped bits, byte by byte, without its end,
/// without ever reading an answer, or again and again. Who is thrown out comes back, but for those
/// that say nothing.
///
/// Owner: the test. One thread of its own, from here to the destructor.
class Crowd {
 public:
  struct Size {
    std::size_t idle = 0;
    std::size_t hostile = 0;
  };
  Crowd(const wire::Address& address, const Size& size, std::vector<std::byte> recording);
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd();

  /// Connections made so far, those that came back included.
  [[nodiscard]] std::size_t made() const noexcept { return made_; }
  /// How often somebody was thrown out.
  [[nodiscard]] std::size_t thrown_out() const noexcept { return thrown_out_; }

 private:
  enum class Kind { kIdle, kRandom, kFlipped, kSlow, kUnfinished, kDeaf, kBusy };
  struct Member {
    Kind kind;
    int fd = -1;
    std::size_t at = 0;  ///< In what it sends.
    bool was_in = false;
  };

  void run();
  void step(Member& member);
  bool come_in(Member& member);
  void leave(Member& member);
  void speak(Member& member);
  bool send(Member& member, std::span<const std::byte> bytes);
  [[nodiscard]] bool listen(const Member& member) const;

  const wire::Address address_;
  const std::vector<std::byte> recording_;
  std::vector<Member> members_;
  std::minstd_rand random_{4711};
  std::atomic<std::size_t> made_{0};
  std::atomic<std::size_t> thrown_out_{0};
  std::mutex mutex_;
  std::condition_variable ending_changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sublet::test
