#include "summary.hpp"

#include <nlohmann/json.hpp>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <ostream>
#include <set>
#include <sstream>
#include <stdexcept>

namespace black_scholes {
namespace {

/// The cores this process may run on, as a list such as "0-3,8".
std::string allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "?";
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    int last = cpu;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) ++last;
    if (!list.empty()) list += ',';
    list += std::to_string(cpu);
    if (last > cpu) list += '-' + std::to_string(last);
    cpu = last;
  }
  return list;
}

void add_cores(const std::string& list, std::set<int>& cores) {
  std::istringstream ranges(list);
  for (std::string range; std::getline(ranges, range, ',');) {
    int first = 0;
    const char* end = range.data() + range.size();
    const auto [at, error] = std::from_chars(range.data(), end, first);
    if (error != std::errc()) return;
    int last = first;
    if (at != end && *at == '-') std::from_chars(at + 1, end, last);
    for (int cpu = first; cpu <= last && cpu < CPU_SETSIZE; ++cpu) cores.insert(cpu);
  }
}

/// 1234567 as 1,234,567.
std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return text;
}

template <class... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

/// A duration with the unit a person would choose.
std::string duration(double microseconds) {
  if (microseconds < 1) return format("%.0f ns", microseconds * 1e3);
  if (microseconds < 1e3) return format("%.*f µs", microseconds < 10 ? 1 : 0, microseconds);
  if (microseconds < 1e6) return format("%.*f ms", microseconds < 1e4 ? 1 : 0, microseconds / 1e3);
  return format("%.2f s", microseconds / 1e6);
}

std::string percentile_text(const char* what, const Percentiles& p) {
  if (p.samples == 0) return std::string(what) + "none";
  std::string text = what;
  return text + "median " + duration(p.p50_us) + ", p99 " + duration(p.p99_us);
}

std::string worker_text(const RankPlace& rank) {
  std::string text;
  for (const auto& worker : rank.workers) {
    if (!text.empty()) text += ", ";
    text += worker.cpuset;
    if (worker.node_name != rank.node) text += " of " + worker.node_name;
  }
  if (!rank.workers.empty()) text += " (" + rank.workers.front().transport + ")";
  return text;
}

void print_places(std::ostream& out, const Summary& s) {
  for (std::size_t r = 0; r < s.ranks.size(); ++r) {
    const RankPlace& rank = s.ranks[r];
    out << "  rank " << r << " on " << rank.node << ", core " << rank.cores << "; "
        << (rank.workers.size() == 1 ? "its worker" : "its workers") << " on core "
        << worker_text(rank) << '\n';
  }
}

void print_verdict(std::ostream& out, const Summary& s) {
  const std::uint64_t prices = s.options * s.steps;
  if (s.different == 0) {
    out << "  checked       all " << grouped(prices)
        << " prices equal those of the ranks alone, bit for bit\n";
  } else {
    out << "  WRONG         " << grouped(s.different) << " of " << grouped(prices)
        << " prices differ from those of the ranks alone\n";
  }
  if (s.parity_broken == 0) {
    out << "                and put-call parity holds for each (largest error "
        << format("%.0e", s.largest_parity_error) << ")\n";
  } else {
    out << "  WRONG         put-call parity is broken for " << grouped(s.parity_broken)
        << " prices (largest error " << format("%.0e", s.largest_parity_error) << ")\n";
  }
}

}  // namespace

std::string RankPlace::to_text() const {
  std::string text = node + '\t' + cores;
  for (const auto& w : workers) text += '\t' + w.node_name + '\t' + w.cpuset + '\t' + w.transport;
  return text;
}

RankPlace RankPlace::from_text(const std::string& text) {
  std::istringstream fields(text);
  RankPlace place;
  std::getline(fields, place.node, '\t');
  std::getline(fields, place.cores, '\t');
  sublet::WorkerInfo worker;
  while (std::getline(fields, worker.node_name, '\t') &&
         std::getline(fields, worker.cpuset, '\t') &&
         std::getline(fields, worker.transport, '\t')) {
    place.workers.push_back(worker);
  }
  return place;
}

RankPlace place_of_this_rank(sublet::Lease& lease) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  RankPlace place{host.data(), allowed_cores(), {}};
  for (std::size_t w = 0; w < lease.workers(); ++w) place.workers.push_back(lease.worker(w));
  return place;
}

Percentiles percentiles(std::vector<float> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  // The smallest sample that at least so many are not above.
  const auto at = [&](double part) {
    const auto rank = static_cast<std::size_t>(std::ceil(part * double(samples.size())));
    return static_cast<double>(samples[std::max<std::size_t>(rank, 1) - 1]);
  };
  return {samples.size(), at(0.50), at(0.99)};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Summary::share() const {
  const auto total = static_cast<double>(own + offloaded);
  return total > 0 ? static_cast<double>(offloaded) / total : 0;
}

std::pair<std::size_t, std::size_t> Summary::threads_and_cores() const {
  std::set<int> cores;
  std::size_t threads = 0;
  for (const RankPlace& rank : ranks) {
    if (rank.node != ranks.front().node) return {};
    add_cores(rank.cores, cores);
    ++threads;
    for (const auto& worker : rank.workers) {
      if (worker.node_name != ranks.front().workers.front().node_name) return {};
      add_cores(worker.cpuset, cores);
      ++threads;
    }
  }
  return {threads, cores.size()};
}

void print(std::ostream& out, const Summary& s) {
  out << "\nBlack-Scholes: " << grouped(s.options) << " options, priced " << s.steps
      << (s.steps == 1 ? " time" : " times") << " by " << s.ranks.size()
      << (s.ranks.size() == 1 ? " rank" : " ranks") << "\n\n";
  print_places(out, s);
  out << "\n  offloaded     " << format("%.1f %%", 100 * s.share()) << " of the work";
  if (s.automatic) {
    out << format(" (balanced by measured rates: %.0f %% at first, %.0f %% at the end)",
                  100 * s.first_share, 100 * s.last_share);
  }
  out << "\n  invocations   " << grouped(s.usage.invocations) << ", of which "
      << grouped(s.chunks.samples) << " with up to " << grouped(s.chunk) << " options\n";
  out << "  round trip    " << percentile_text("one option alone: ", s.single) << '\n'
      << "                " << percentile_text("a chunk, with others queued: ", s.chunks) << '\n';
  if (s.failed_calls > 0) {
    out << "  failed calls  " << s.failed_calls
        << ", priced by the ranks instead; the first: " << s.first_failure << '\n';
  }
  out << "  alone         " << duration(s.step_seconds_alone * 1e6) << " a step (median)\n"
      << "  offloading    " << duration(s.step_seconds_offloading * 1e6) << " a step (median)\n";
  const auto [threads, cores] = s.threads_and_cores();
  out << "  gain          " << s.gain.claim(threads, cores) << '\n';
  if (threads <= cores) out << "                (" << s.gain.evidence() << ")\n";
  out << "  cost          " << format("%.2f", s.usage.core_seconds) << " core-seconds held, "
      << format("%.2f", static_cast<double>(s.usage.compute_ns) / 1e9) << " of them computing\n";
  print_verdict(out, s);
  out << "  value         " << format("%.2f", s.portfolio_value) << " after the last step\n";
  if (!s.trace.empty()) {
    out << "  timeline      " << s.trace << " (open it at https://ui.perfetto.dev)\n";
  }
  out << '\n';
}

void write_json(const std::string& path, const Summary& s) {
  const auto round_trip = [](const Percentiles& p) {
    return nlohmann::json{{"samples", p.samples}, {"p50_us", p.p50_us}, {"p99_us", p.p99_us}};
  };
  nlohmann::json ranks = nlohmann::json::array();
  for (const RankPlace& rank : s.ranks) {
    nlohmann::json workers = nlohmann::json::array();
    for (const auto& w : rank.workers) {
      workers.push_back({{"node", w.node_name}, {"cpuset", w.cpuset}, {"transport", w.transport}});
    }
    ranks.push_back({{"node", rank.node}, {"cpuset", rank.cores}, {"workers", workers}});
  }
  const auto [threads, cores] = s.threads_and_cores();
  const nlohmann::json document{
      {"application", "black_scholes"},
      {"options", s.options},
      {"steps", s.steps},
      {"chunk", s.chunk},
      {"ranks", ranks},
      {"offload_share", s.share()},
      {"offload_share_first_step", s.first_share},
      {"offload_share_last_step", s.last_share},
      {"automatic", s.automatic},
      {"invocations", s.usage.invocations},
      {"round_trip_one_option", round_trip(s.single)},
      {"round_trip_chunk", round_trip(s.chunks)},
      {"step_s_alone", s.step_seconds_alone},
      {"step_s_offloading", s.step_seconds_offloading},
      {"busy_threads", threads},
      {"cores", cores},
      {"speedup_pairs", s.gain.pairs},
      {"speedup_p25", s.gain.lower_quartile},
      {"speedup_p50", s.gain.median},
      {"speedup_p75", s.gain.upper_quartile},
      {"core_seconds", s.usage.core_seconds},
      {"compute_s", static_cast<double>(s.usage.compute_ns) / 1e9},
      {"failed_calls", s.failed_calls},
      {"different_prices", s.different},
      {"parity_violations", s.parity_broken},
      {"largest_parity_error", s.largest_parity_error},
      {"portfolio_value", s.portfolio_value},
      {"right", s.right()},
  };
  std::ofstream file(path);
  file << document.dump(2) << '\n';
  file.close();
  if (!file) throw std::runtime_error("cannot write the summary to '" + path + "'");
}

}  // namespace black_scholes
