// An application for the tests and benchmarks of preemption: waits until it is granted a worker,
// says when its first result came, then calls it until a file exists, whatever happens to the
// nodes, and counts how the calls ended.
//
//   slurm_caller --until FILE [--first FILE] [--json FILE]

#include <sublet/sublet.hpp>

#include <boost/program_options.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

namespace {

namespace po = boost::program_options;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// No call may take so long: then it has no end.
constexpr auto kEnd = 60s;
constexpr auto kGranted = 120s;

struct Counts {
  std::uint64_t calls = 0;
  std::uint64_t right = 0;
  std::uint64_t wrong = 0;
  std::uint64_t lost = 0;       ///< Their node went away with them.
  std::uint64_t no_worker = 0;  ///< Not sent: there was none at that time.
  std::uint64_t otherwise = 0;
  std::uint64_t without_end = 0;
};

sublet::Lease await_lease(sublet::Session& session) {
  const auto limit = Clock::now() + kGranted;
  for (;;) {
    auto lease = session.lease({.placement = sublet::Placement::kSpread, .hot_timeout = 10ms});
    if (lease) return *lease;
    if (Clock::now() > limit) throw lease.error();
    std::this_thread::sleep_for(1ms);  // tidy-allow: the interval of asking again
  }
}

void count_call(sublet::Function& echo, std::uint64_t number, Counts& counts) {
  std::uint64_t answer = 0;
  sublet::Call call = echo.async(&number, sizeof number, &answer, sizeof answer);
  const sublet::Reply reply = call.wait_for(kEnd);
  ++counts.calls;
  switch (reply.status) {
    case sublet::Status::kOk:
      ++(answer == number ? counts.right : counts.wrong);
      break;
    case sublet::Status::kLost:
      ++counts.lost;
      break;
    case sublet::Status::kClosed:
      ++counts.no_worker;
      std::this_thread::sleep_for(1ms);  // tidy-allow: as above
      break;
    case sublet::Status::kDeadline:
      ++counts.without_end;
      std::cerr << "slurm_caller: a call has not ended within a minute\n";
      std::_Exit(3);  // its memory is in use
    default:
      ++counts.otherwise;
      std::cerr << "slurm_caller: " << call.error() << '\n';
  }
}

void write_json(const std::string& path, const Counts& c) {
  std::ofstream file(path);
  file << "{\"calls\":" << c.calls << ",\"right\":" << c.right << ",\"wrong\":" << c.wrong
       << ",\"lost\":" << c.lost << ",\"no_worker\":" << c.no_worker
       << ",\"otherwise\":" << c.otherwise << ",\"without_end\":" << c.without_end << "}\n";
}

int run(int argc, char** argv) {
  std::string until;
  std::string first;
  std::string json;
  po::options_description flags("slurm_caller: calls a worker until FILE exists");
  flags.add_options()("until", po::value(&until)->required())("first", po::value(&first))(
      "json", po::value(&json));
  po::variables_map given;
  po::store(po::parse_command_line(argc, argv, flags), given);
  po::notify(given);

  auto session = sublet::Session::open().value_or_throw();
  sublet::Lease lease = await_lease(session);
  sublet::Function echo = lease.function(SLURM_CALLER_FUNCTIONS, "echo").value_or_throw();
  Counts counts;
  count_call(echo, 1, counts);
  if (!first.empty()) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    std::ofstream(first + ".draft") << std::chrono::nanoseconds(now).count() << '\n';
    std::filesystem::rename(first + ".draft", first);
  }
  for (std::uint64_t i = 2; i % 64 != 0 || !std::filesystem::exists(until); ++i) {
    count_call(echo, i, counts);
  }
  if (!json.empty()) write_json(json, counts);
  return counts.wrong + counts.otherwise == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "slurm_caller: " << error.what() << '\n';
    return 1;
  }
}
