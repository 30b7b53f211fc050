#pragma once

#include <sublet/result.hpp>

#include <cstdint>
#include <memory>
#include <set>
#include <string>

namespace sublet::manager {

/// Users that executors run as, one for each lease: their functions cannot touch one another's
/// processes and files. Numbers that nobody else has.
///
/// Owner: the executor manager, on its loop. What is lent keeps what it needs alive.
class ExecutorUsers {
 public:
  /// "60000-60999"; kInvalid says what is wrong. Empty: none.
  static Result<ExecutorUsers> parse(const std::string& range);

  ExecutorUsers() = default;
  [[nodiscard]] bool any() const noexcept { return state_ != nullptr; }

  /// A user's number, and his group's, as long as the result lives. kOverloaded when all are lent.
  [[nodiscard]] Result<std::shared_ptr<const std::uint32_t>> lend();

 private:
  struct State {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    std::uint32_t next = 0;  ///< Whoever was lent longest ago comes last.
    std::set<std::uint32_t> lent;
  };
  std::shared_ptr<State> state_;
};

}  // namespace sublet::manager
