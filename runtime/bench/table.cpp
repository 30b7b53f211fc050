#include "raw_transport.hpp"
#include "report.hpp"

#include <cstdio>

namespace sublet::bench {
namespace {

template <class... Values>
void add(std::string& text, const char* format, Values... values) {
  char line[256];
  std::snprintf(line, sizeof(line), format, values...);
  text += line;
}

std::string header(const std::string& what, const Setting& setting) {
  std::string text = "# Sublet " + what + "\n";
  add(text, "# client on core %d, worker on core %d, transport %s\n", setting.cpus.client,
      setting.cpus.worker, to_string(setting.transport));
  if (!setting.manager.empty()) text += "# resource manager: " + setting.manager + "\n";
  return text;
}

const char* raw_description(transport::Kind transport, Mode mode) {
  if (mode == Mode::kCold) return "fork+exec+wait of /bin/true";
  const RawTransport* raw = raw_transport(transport);
  if (raw == nullptr) return "";
  return mode == Mode::kHot ? raw->hot : raw->warm;
}

const char* stream_description(transport::Kind transport) {
  const RawTransport* raw = raw_transport(transport);
  return raw == nullptr ? "" : raw->stream;
}

void add_figure(std::string& text, const std::optional<double>& figure) {
  if (figure) {
    add(text, " %12.3f", *figure);
  } else {
    add(text, " %12s", "-");
  }
}

}  // namespace

std::string to_table(const LatencyReport& report) {
  const bool line = !report.rows.empty() && report.rows[0].pairs.line_ns > 0;
  const bool compared = !report.rows.empty() && report.rows[0].openmpi_p50_us.has_value();
  std::string text = header(std::string("latency, mode ") + to_string(report.mode), report);
  add(text, "# raw: %s; ratio: median over batch pairs\n",
      raw_description(report.transport, report.mode));
  if (!report.compare_note.empty()) text += "# no comparison: " + report.compare_note + "\n";
  add(text, "%-10s %10s %10s %10s %10s %7s", "# Size (B)", "p50 (us)", "p95 (us)", "p99 (us)",
      "raw (us)", "ratio");
  if (line) add(text, " %9s", "line (ns)");
  add(text, " %7s %8s", "pairs", "dropped");
  const bool network = compared && report.rows[0].openmpi_ratio.has_value();
  if (compared) add(text, " %12s %12s", "OpenMPI (us)", network ? "ours/OpenMPI" : "eager32k (us)");
  text += "\n";
  bool unsteady = false;
  for (const LatencyRow& row : report.rows) {
    add(text, "%-10zu %10.3f %10.3f %10.3f %10.3f %7.2f", row.size_bytes, row.ours_us.p50,
        row.ours_us.p95, row.ours_us.p99, row.raw_us.p50, row.pairs.ratio);
    if (line) add(text, " %9.0f", row.pairs.line_ns);
    add(text, " %7zu %8zu", row.pairs.pairs, row.pairs.dropped);
    if (compared) {
      add_figure(text, row.openmpi_p50_us);
      add_figure(text, network ? row.openmpi_ratio : row.openmpi_eager32k_p50_us);
    }
    text += "\n";
    unsteady = unsteady || row.pairs.unsteady;
  }
  if (unsteady) {
    text +=
        "# No pair of a row was steady, so all are counted: the machine is too busy to measure.\n";
  }
  return text;
}

std::string to_table(const ColdReport& report) {
  std::string text = header("cold start: from asking for a lease to the first result", report);
  text += "# session open, library in the node's cache; ratio: median over batch pairs\n";
  add(text, "%-8s %10s %10s %10s %16s %7s %7s\n", "# Start", "p50 (us)", "p95 (us)", "p99 (us)",
      "fork+exec (us)", "ratio", "pairs");
  for (const ColdRow& row : report.rows) {
    add(text, "%-8s %10.1f %10.1f %10.1f %16.1f %7.2f %7zu\n", to_string(row.start),
        row.ours_us.p50, row.ours_us.p95, row.ours_us.p99, row.fork_exec_us.p50, row.pairs.ratio,
        row.pairs.pairs);
  }
  return text;
}

std::string to_table(const IsolationReport& report) {
  std::string text = header("isolation: from asking for a lease to the first result", report);
  if (!report.image.empty()) text += "# containers of " + report.image + "\n";
  text += "# ratio: by isolation process, median over batch pairs\n";
  add(text, "%-12s %12s %7s %12s %7s %16s %7s\n", "# Isolation", "bare (us)", "ratio", "warm (us)",
      "ratio", "podman run (us)", "ratio");
  for (const IsolationRow& row : report.rows) {
    add(text, "%-12s %12.1f %7.2f %12.1f %7.2f", row.isolation.c_str(), row.bare_us.p50,
        row.bare.ratio, row.warm_us.p50, row.warm.ratio);
    if (row.podman.pairs != 0) add(text, " %16.1f %7.2f", row.podman_us.p50, row.podman.ratio);
    text += "\n";
  }
  return text;
}

std::string to_table(const RateReport& report) {
  std::string text = header("rate: calls per second, one worker", report);
  add(text, "# payload %zu bytes each way; ratio: median over batch pairs\n", report.size_bytes);
  add(text, "%-8s %14s %14s %7s %7s\n", "# Window", "calls/s", "sync calls/s", "ratio", "pairs");
  for (const RateRow& row : report.rows) {
    add(text, "%-8u %14.0f %14.0f %7.2f %7zu\n", row.window, row.calls_per_s, row.sync_calls_per_s,
        row.ratio, row.pairs);
  }
  return text;
}

std::string to_table(const BandwidthReport& report) {
  std::string text = header("bandwidth: input delivered to one worker", report);
  add(text, "# window %u, answers of 8 bytes\n", report.window);
  add(text, "# raw: %s; ratio: median over batch pairs\n", stream_description(report.transport));
  add(text, "%-10s %12s %12s %7s %7s\n", "# Size (B)", "MiB/s", "raw (MiB/s)", "ratio", "pairs");
  for (const BandwidthRow& row : report.rows) {
    add(text, "%-10zu %12.1f %12.1f %7.3f %7zu\n", row.size_bytes, row.mib_per_s, row.raw_mib_per_s,
        row.ratio, row.pairs);
  }
  return text;
}

std::string to_table(const ConnectReport& report) {
  std::string text = header("connect: channels opened to the workers of one lease", report);
  text += "# ratio: together by one by one, median over rounds\n";
  add(text, "%-13s %14s %10s %16s %7s %7s\n", "# Connections", "together (us)", "each (us)",
      "one by one (us)", "ratio", "rounds");
  for (const ConnectRow& row : report.rows) {
    add(text, "%-13u %14.1f %10.1f %16.1f %7.3f %7zu\n", row.connections, row.together_us,
        row.together_us / row.connections, row.one_by_one_us, row.ratio, row.rounds);
  }
  return text;
}

std::string to_table(const SingleSourceReport& report) {
  std::string text = header("single-source: functions of the program itself", report);
  text += "# beside: lambda and open, a library; cold, fork+exec+wait of the program\n";
  add(text, "%-8s %12s %12s %7s %7s\n", "# Form", "p50 (us)", "beside (us)", "ratio", "pairs");
  for (const SingleSourceRow& row : report.rows) {
    add(text, "%-8s %12.3f %12.3f %7.3f %7zu\n", row.form.c_str(), row.p50_us, row.baseline_p50_us,
        row.ratio, row.pairs);
  }
  return text;
}

std::string to_table(const WideReport& report) {
  std::string text = "# Sublet wide: an OpenMP function on a worker of " +
                     std::to_string(report.cores) + " cores and on one of one core\n";
  add(text, "# wide worker on cores %s, transport %s; the client sleeps while it waits\n",
      report.cpuset.c_str(), to_string(report.transport));
  if (!report.manager.empty()) text += "# resource manager: " + report.manager + "\n";
  add(text, "# %llu option prices a call; speed-up: median over batch pairs\n",
      static_cast<unsigned long long>(report.options));
  add(text, "%-8s %12s %12s %14s %9s %7s\n", "# Cores", "p50 (us)", "p95 (us)", "one core (us)",
      "speed-up", "pairs");
  add(text, "%-8u %12.1f %12.1f %14.1f %9.3f %7zu\n", report.cores, report.wide_us.p50,
      report.wide_us.p95, report.one_core_us.p50, report.pairs.ratio, report.pairs.pairs);
  return text;
}

LatencyReport as_latency(const ColdReport& report) {
  LatencyReport latency;
  static_cast<Setting&>(latency) = report;
  latency.mode = Mode::kCold;
  for (const ColdRow& row : report.rows) {
    LatencyRow converted;
    converted.size_bytes = row.size_bytes;
    converted.ours_us = row.ours_us;
    converted.raw_us = row.fork_exec_us;
    converted.pairs = row.pairs;
    converted.calls = row.starts;
    latency.rows.push_back(converted);
  }
  return latency;
}

}  // namespace sublet::bench
