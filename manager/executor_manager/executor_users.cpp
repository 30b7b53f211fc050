#include <executor_manager/executor_users.hpp>

#include <unistd.h>

#include <charconv>
#include <optional>
#include <string_view>

namespace sublet::manager {
namespace {

/// More than a node has cores, and few enough to be looked through.
constexpr std::uint32_t kMostUsers = 65536;

std::optional<std::uint32_t> to_number(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<ExecutorUsers> ExecutorUsers::parse(const std::string& range) {
  ExecutorUsers users;
  if (range.empty()) return users;
  const auto dash = range.find('-');
  const auto first = to_number(std::string_view(range).substr(0, dash));
  const auto last = dash == std::string::npos ? std::nullopt
                                              : to_number(std::string_view(range).substr(dash + 1));
  if (!first || !last || *first == 0 || *last < *first || *last - *first >= kMostUsers ||
      *last >= ~std::uint32_t{0} - 1) {
    return fail(ErrorKind::kInvalid,
                "--executor-users is '" + range +
                    "'; it must be two user numbers that nobody else has, for instance "
                    "60000-60999: from 1 on, and " +
                    std::to_string(kMostUsers) + " at most");
  }
  if (::geteuid() != 0) {
    return fail(ErrorKind::kDenied,
                "only root can run executors as other users (--executor-users)");
  }
  users.state_ = std::make_shared<State>();
  users.state_->first = users.state_->next = *first;
  users.state_->last = *last;
  return users;
}

Result<std::shared_ptr<const std::uint32_t>> ExecutorUsers::lend() {
  State& state = *state_;
  const std::uint32_t count = state.last - state.first + 1;
  if (state.lent.size() >= count) {
    return fail(ErrorKind::kOverloaded, "all " + std::to_string(count) +
                                            " users of --executor-users run a lease's executor");
  }
  while (state.lent.contains(state.next)) {
    state.next = state.next == state.last ? state.first : state.next + 1;
  }
  const std::uint32_t uid = state.next;
  state.lent.insert(uid);
  state.next = uid == state.last ? state.first : uid + 1;
  return std::shared_ptr<const std::uint32_t>(
      new std::uint32_t(uid), [owner = state_](const std::uint32_t* lent) {
        owner->lent.erase(*lent);
        delete lent;  // NOLINT(cppcoreguidelines-owning-memory): of the line above
      });
}

}  // namespace sublet::manager
