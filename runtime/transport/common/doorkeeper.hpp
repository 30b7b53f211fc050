#pragma once

#include <transport/common/greeting.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>

namespace sublet::transport {

/// Greetings that an executor takes in its life: each is remembered.
inline constexpr std::size_t kMaxGreetings = std::size_t{1} << 16;

struct Refusal {
  Status status = Status::kDenied;
  std::string text;
};

/// Looks at who wants a channel. A greeting is good once: who has seen it on its way has no use for
/// it.
///
/// Owner and user: one listener, on the executor's main thread.
class Doorkeeper {
 public:
  explicit Doorkeeper(ListenOptions options) : options_(options) {}

  /// Why a client may not have what it asks for; nothing when it may. Its proof is looked at before
  /// anything that would tell of the lease.
  [[nodiscard]] std::optional<Refusal> why_refused(const Greeting& greeting, std::uint32_t version,
                                                   const MayTake& may_take);

  [[nodiscard]] const ListenOptions& options() const noexcept { return options_; }

 private:
  ListenOptions options_;
  std::unordered_set<std::uint64_t> seen_;  ///< Nonces of those that came with a good proof.
};

}  // namespace sublet::transport
