#include <base/system_text.hpp>
#include <executor/backtrace.hpp>
#include <executor/pinning.hpp>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <string>

namespace sublet::executor {
namespace {

/// More than any machine has.
constexpr unsigned kMostNumber = 65535;

bool read_number(std::string_view text, unsigned& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number <= kMostNumber;
}

Result<Cores> read_list(std::string_view list) {
  Cores cores{std::string(list), {}};
  for (std::string_view rest = list; !rest.empty();) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const std::size_t dash = part.find('-');
    unsigned first = 0;
    unsigned last = 0;
    bool fits = read_number(part.substr(0, dash), first);
    if (dash == std::string_view::npos) {
      last = first;
    } else {
      fits = fits && read_number(part.substr(dash + 1), last);
    }
    if (!fits || last < first) {
      return fail(ErrorKind::kInvalid, "'" + cores.text + "' names no cores");
    }
    for (unsigned number = first; number <= last; ++number) cores.numbers.push_back(number);
  }
  return cores;
}

}  // namespace

Result<std::vector<Cores>> read_cores(std::string_view lists) {
  std::vector<Cores> all;
  while (!lists.empty()) {
    const std::string_view list = lists.substr(0, lists.find(';'));
    lists.remove_prefix(std::min(lists.size(), list.size() + 1));
    auto cores = read_list(list);
    if (!cores) return tl::unexpected<Error>(cores.error());
    all.push_back(std::move(*cores));
  }
  return all;
}

void pin_this_thread(const Cores& cores) {
  static std::atomic<bool> said{false};
  const unsigned most =
      cores.numbers.empty() ? 0 : *std::max_element(cores.numbers.begin(), cores.numbers.end());
  std::vector<cpu_set_t> sets(most / CPU_SETSIZE + 1);
  const std::size_t bytes = sets.size() * sizeof(cpu_set_t);
  CPU_ZERO_S(bytes, sets.data());
  for (const unsigned number : cores.numbers) CPU_SET_S(number, bytes, sets.data());
  if (::sched_setaffinity(0, bytes, sets.data()) == 0) return;
  const int error = errno;
  if (said.exchange(true, std::memory_order_relaxed)) return;
  write_error_line("binding a thread to the cores '" + cores.text +
                   "': " + base::call_text("sched_setaffinity", error) +
                   "; going on with workers that are not pinned (does a container's filter refuse "
                   "sched_setaffinity, or has the cpuset of the executor manager changed? then "
                   "allow it, or start the manager again)");
}

}  // namespace sublet::executor
