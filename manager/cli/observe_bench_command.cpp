// `sublet bench observe`: what it costs the resource manager, and calls, to be looked at.

#include <base/fd.hpp>
#include <base/log.hpp>
#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <cli/simulated_cluster.hpp>
#include <common/async.hpp>
#include <common/program_answer.hpp>

#include <arpa/inet.h>
#include <bench/companion.hpp>
#include <bench/report.hpp>
#include <bench/statistics.hpp>
#include <boost/program_options.hpp>
#include <kj/async-io.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sodium/core.h>
#include <sys/socket.h>
#include <web/web_server.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sublet::cli {
namespace po = boost::program_options;

CommandLine observe_bench_command_line() {
  CommandLine line;
  line.name = "bench observe";
  line.arguments = "[OPTIONS]";
  line.about =
      "Measures a resource manager with 400 simulated nodes of 64 cores and 1,000 leases while it "
      "is\n"
      "looked at: how long /metrics and the page's data take over a connection that is open, and "
      "what\n"
      "one open page costs it, as a part of a core, while leases come and go. Then the time of "
      "hot\n"
      "calls whose worker counts how long they run beside those of one that does not.";
  line.options.add_options()("rounds", po::value<std::uint32_t>()->default_value(100),
                             "how often each is asked for, and pairs of batches of calls")(
      "seconds", po::value<std::uint32_t>()->default_value(10),
      "how long a page is open, and as long again none is")(
      "json", po::value<std::string>()->default_value(""),
      "write the figures to this file; - for standard output in place of the table");
  return line;
}

namespace {

using std::chrono::steady_clock;

constexpr std::uint32_t kNodes = 400;
constexpr std::size_t kLeases = 1000;
constexpr auto kAnswer = std::chrono::seconds(10);
/// How often leases change while pages are open: some for each second's overview.
constexpr kj::Duration kBetweenPairs = 100 * kj::MILLISECONDS;

/// A browser, as far as the server can tell. One thread.
class Reader {
 public:
  explicit Reader(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ok_ = fd_.valid() &&
          ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
  }

  void ask(const std::string& target) {
    const std::string text = "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    ok_ = ok_ && ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
                     static_cast<ssize_t>(text.size());
  }
  /// The bytes of the answer's body; nothing when it is no good answer.
  std::optional<std::size_t> answer() {
    std::size_t head = 0;
    while ((head = text_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_some()) return std::nullopt;
    }
    const std::size_t at = text_.find("Content-Length: ");
    if (!text_.starts_with("HTTP/1.1 200 ") || at > head) return std::nullopt;
    const auto length = static_cast<std::size_t>(std::atoll(text_.c_str() + at + 16));
    while (text_.size() < head + 4 + length) {
      if (!read_some()) return std::nullopt;
    }
    text_.erase(0, head + 4 + length);
    return length;
  }
  /// Reads on until then; how many bytes came.
  std::size_t read_until(steady_clock::time_point end) {
    std::size_t bytes = 0;
    while (steady_clock::now() < end && read_some(std::chrono::milliseconds(50), true)) {
      bytes += text_.size();
      text_.clear();
    }
    return bytes;
  }

 private:
  bool read_some(std::chrono::milliseconds limit = kAnswer, bool late_is_good = false) {
    pollfd wait{fd_.get(), POLLIN, 0};
    if (!ok_) return false;
    const int ready = ::poll(&wait, 1, static_cast<int>(limit.count()));
    if (ready == 0) return late_is_good;
    std::array<char, 65536> bytes{};
    const ssize_t size = ready < 0 ? -1 : ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (size <= 0) return ok_ = false;
    text_.append(bytes.data(), static_cast<std::size_t>(size));
    return true;
  }

  base::Fd fd_;
  bool ok_ = false;
  std::string text_;
};

struct Asked {
  std::vector<double> ms;
  std::size_t bytes = 0;
  bool failed = false;
};

Asked ask_again_and_again(std::uint16_t port, const std::string& target, std::uint32_t rounds) {
  Asked asked;
  Reader reader(port);
  for (std::uint32_t i = 0; i < rounds && !asked.failed; ++i) {
    const auto begin = steady_clock::now();
    reader.ask(target);
    const auto bytes = reader.answer();
    asked.failed = !bytes;
    asked.bytes = bytes.value_or(0);
    asked.ms.push_back(
        std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count());
  }
  return asked;
}

double thread_cpu_s() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// The cluster, its page, and what reads that on a thread of its own.
class Observed {
 public:
  explicit Observed(const manager::Operators& operators)
      : io_(kj::setupAsyncIo()), cluster_(io_, operators, kNodes, kLeases) {
    while (!cluster_.is_full()) cluster_.pair();
    auto access = manager::web::WebAccess::load({}, {});
    if (!access) throw std::runtime_error(access.error().what());
    auto socket = manager::web::WebServer::listen("127.0.0.1:0", *access);
    if (!socket) throw std::runtime_error(socket.error().what());
    port_ = socket->address().port;
    web_ = kj::heap<manager::web::WebServer>(*io_.lowLevelProvider, std::move(*socket),
                                             std::move(*access), kj::addRef(cluster_.service()),
                                             nullptr);
  }

  /// What `job` returns, while the cluster goes on.
  template <class Job>
  auto while_it_goes_on(Job job) {
    std::atomic<bool> done = false;
    decltype(job(port_)) result{};
    std::thread reader([&] {
      result = job(port_);
      done = true;
    });
    while (!done) {
      cluster_.pair();
      io_.provider->getTimer().afterDelay(kBetweenPairs).wait(io_.waitScope);
    }
    reader.join();
    return result;
  }

 private:
  kj::AsyncIoContext io_;
  SimulatedCluster cluster_;
  kj::Own<manager::web::WebServer> web_;
  std::uint16_t port_ = 0;
};

struct ObserveRow {
  std::string name;
  bench::Spread ms;
  std::size_t bytes = 0;
};

/// What sublet-bench-call-times says.
struct HotCalls {
  double ratio_p50 = 0;
  double p50_us = 0;
  double without_p50_us = 0;
  std::size_t pairs = 0;
};

struct Observation {
  std::vector<ObserveRow> rows;
  HotCalls hot;
  double page_core_percent = 0;
  std::size_t page_bytes_per_s = 0;
};

Result<Observation> observe(const manager::Operators& operators, std::uint32_t rounds,
                            std::uint32_t seconds) {
  Observed observed(operators);
  Observation seen;
  for (const auto& [name, target] :
       {std::pair("metrics_400x64", "/metrics"), std::pair("page_400x64", "/api/v1/page")}) {
    const Asked asked =
        observed.while_it_goes_on([&, path = std::string(target)](std::uint16_t port) {
          return ask_again_and_again(port, path, rounds);
        });
    if (asked.failed) {
      return fail(ErrorKind::kDisconnected,
                  std::string("asking for ") + target + ": there was no good answer within 10 s");
    }
    seen.rows.push_back({name, bench::spread_of(asked.ms), asked.bytes});
  }
  // Once without and once with an open page: what comes and goes is the same in both.
  std::array<double, 2> cpu_s{};
  for (const bool open : {false, true}) {
    const double before = thread_cpu_s();
    const std::size_t bytes = observed.while_it_goes_on([=](std::uint16_t port) {
      Reader reader(port);
      reader.ask(open ? "/events" : "/healthz");
      return reader.read_until(steady_clock::now() + std::chrono::seconds(seconds));
    });
    cpu_s.at(open ? 1 : 0) = thread_cpu_s() - before;
    if (open) seen.page_bytes_per_s = bytes / seconds;
  }
  seen.page_core_percent = 100 * (cpu_s[1] - cpu_s[0]) / seconds;
  return seen;
}

/// The worker's loop as executors run it beside one that does not count; a program of its own,
/// because only executors have that loop.
Result<HotCalls> hot_calls(std::uint32_t rounds) {
  const auto program = bench::find_companion("sublet-bench-call-times");
  if (!program) return tl::unexpected<Error>(program.error());
  constexpr std::uint32_t kMostPairs = 1000;
  const std::string pairs = std::to_string(std::min(rounds, kMostPairs));
  const auto answer = manager::ask_program({*program, pairs}, std::chrono::minutes(2));
  if (!answer) return tl::unexpected<Error>(answer.error());
  const auto said = nlohmann::json::parse(answer->output, nullptr, false);
  if (!answer->ended_well || !said.is_object()) {
    return fail(ErrorKind::kInternal, "measuring hot calls: " + answer->output);
  }
  return HotCalls{said.value("ratio_p50", 0.0), said.value("p50_us", 0.0),
                  said.value("without_p50_us", 0.0), said.value("pairs", std::size_t{0})};
}

std::string observe_number(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string observe_table(const Observation& seen) {
  std::vector<std::vector<std::string>> cells = {{"WHAT", "p50 ms", "p99 ms", "KiB"}};
  for (const ObserveRow& row : seen.rows) {
    cells.push_back({row.name, observe_number(row.ms.p50, 2), observe_number(row.ms.p99, 2),
                     std::to_string(row.bytes >> 10)});
  }
  return format_table(std::move(cells)) +
         "one open page: " + observe_number(seen.page_core_percent, 2) + " % of a core, " +
         std::to_string(seen.page_bytes_per_s >> 10) +
         " KiB/s\nhot calls of 8 bytes: " + observe_number(seen.hot.p50_us, 3) + " us, " +
         observe_number(seen.hot.without_p50_us, 3) + " us without histograms, ratio " +
         observe_number(seen.hot.ratio_p50, 3) + "\n";
}

std::string observe_json(const Observation& seen) {
  auto values = nlohmann::json::array();
  for (const ObserveRow& row : seen.rows) {
    values.push_back(
        {{"name", row.name}, {"ms", row.ms.p50}, {"p99_ms", row.ms.p99}, {"bytes", row.bytes}});
  }
  values.push_back({{"name", "open_page_400x64"},
                    {"core_percent", seen.page_core_percent},
                    {"bytes_per_s", seen.page_bytes_per_s}});
  values.push_back({{"name", "hot_with_histograms"},
                    {"ratio_p50", seen.hot.ratio_p50},
                    {"p50_us", seen.hot.p50_us},
                    {"without_p50_us", seen.hot.without_p50_us},
                    {"pairs", seen.hot.pairs}});
  return values.dump(2) + "\n";
}

Result<void> measure_observation(const po::variables_map& values) {
  const auto rounds = values["rounds"].as<std::uint32_t>();
  const auto seconds = values["seconds"].as<std::uint32_t>();
  if (rounds < 1 || rounds > 100'000 || seconds < 1 || seconds > 3600) {
    return fail(ErrorKind::kInvalid, "--rounds may be 1 to 100000 and --seconds 1 to 3600");
  }
  const auto& json = values["json"].as<std::string>();
  auto file = bench::JsonFile::open(json);
  if (!file) return tl::unexpected<Error>(file.error());
  if (::sodium_init() < 0) return fail(ErrorKind::kInternal, "libsodium does not start");
  const auto operators = manager::Operators::of_this_process();
  if (!operators) return tl::unexpected<Error>(operators.error());
  base::log().set_level(spdlog::level::err);  // hundreds of nodes come and go
  auto seen = observe(*operators, rounds, seconds);
  if (!seen) return tl::unexpected<Error>(seen.error());
  const auto hot = hot_calls(rounds);
  if (!hot) return tl::unexpected<Error>(hot.error());
  seen->hot = *hot;
  std::cout << (json == "-" ? observe_json(*seen) : observe_table(*seen)) << std::flush;
  return file->write(observe_json(*seen));
}

}  // namespace

int observe_bench_command(const std::vector<std::string>& words) {
  return run_command(observe_bench_command_line(), words, [](const Values& values) -> Result<void> {
    try {
      return measure_observation(values);
    } catch (const kj::Exception& exception) {
      return fail(ErrorKind::kInternal, manager::text_of(exception));
    } catch (const std::runtime_error& error) {
      return fail(ErrorKind::kInternal, error.what());
    }
  });
}

}  // namespace sublet::cli
