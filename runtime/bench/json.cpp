#include "report.hpp"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

namespace sublet::bench {
namespace {

using Json = nlohmann::ordered_json;

/// Rounded to a tenth of a nanosecond (or the like), so that the file shows no false precision.
double rounded(double value) {
  return std::round(value * 1e4) / 1e4;
}

Json opening(const char* benchmark, const Setting& setting) {
  return {{"benchmark", benchmark}, {"transport", to_string(setting.transport)}};
}

void add_place(Json& json, const Setting& setting) {
  json["client_cpu"] = setting.cpus.client;
  json["worker_cpu"] = setting.cpus.worker;
  if (!setting.manager.empty()) json["manager"] = setting.manager;
}

}  // namespace

std::string to_json(const LatencyReport& report) {
  Json json = opening("latency", report);
  json["mode"] = to_string(report.mode);
  add_place(json, report);
  if (!report.compare_note.empty()) json["compare_note"] = report.compare_note;
  json["rows"] = Json::array();
  for (const LatencyRow& row : report.rows) {
    Json item{{"size_bytes", row.size_bytes},          {"p50_us", rounded(row.ours_us.p50)},
              {"p95_us", rounded(row.ours_us.p95)},    {"p99_us", rounded(row.ours_us.p99)},
              {"raw_p50_us", rounded(row.raw_us.p50)}, {"raw_p95_us", rounded(row.raw_us.p95)},
              {"raw_p99_us", rounded(row.raw_us.p99)}, {"ratio_p50", rounded(row.pairs.ratio)}};
    if (row.pairs.line_ns > 0) item["bounced_line_ns"] = rounded(row.pairs.line_ns);
    item["pairs"] = row.pairs.pairs;
    item["pairs_dropped"] = row.pairs.dropped;
    item["steady"] = !row.pairs.unsteady;
    item["calls"] = row.calls;
    item["calls_per_sample"] = row.calls_per_sample;
    if (row.openmpi_p50_us) item["openmpi_p50_us"] = rounded(*row.openmpi_p50_us);
    if (row.openmpi_eager32k_p50_us) {
      item["openmpi_eager32k_p50_us"] = rounded(*row.openmpi_eager32k_p50_us);
    }
    if (row.openmpi_ratio) item["openmpi_ratio_p50"] = rounded(*row.openmpi_ratio);
    json["rows"].push_back(std::move(item));
  }
  return json.dump(2) + "\n";
}

std::string to_json(const ColdReport& report) {
  Json json = opening("cold", report);
  add_place(json, report);
  json["rows"] = Json::array();
  for (const ColdRow& row : report.rows) {
    json["rows"].push_back({{"start", to_string(row.start)},
                            {"size_bytes", row.size_bytes},
                            {"p50_us", rounded(row.ours_us.p50)},
                            {"p95_us", rounded(row.ours_us.p95)},
                            {"p99_us", rounded(row.ours_us.p99)},
                            {"fork_exec_p50_us", rounded(row.fork_exec_us.p50)},
                            {"fork_exec_p95_us", rounded(row.fork_exec_us.p95)},
                            {"ratio_p50", rounded(row.pairs.ratio)},
                            {"pairs", row.pairs.pairs},
                            {"starts", row.starts}});
  }
  return json.dump(2) + "\n";
}

std::string to_json(const IsolationReport& report) {
  Json json = opening("isolation", report);
  add_place(json, report);
  if (!report.image.empty()) json["image"] = report.image;
  json["rows"] = Json::array();
  for (const IsolationRow& row : report.rows) {
    Json item{{"isolation", row.isolation},
              {"cold_p50_us", rounded(row.bare_us.p50)},
              {"cold_p95_us", rounded(row.bare_us.p95)},
              {"ratio_p50", rounded(row.bare.ratio)},
              {"warm_p50_us", rounded(row.warm_us.p50)},
              {"warm_p95_us", rounded(row.warm_us.p95)},
              {"warm_ratio_p50", rounded(row.warm.ratio)},
              {"pairs", row.bare.pairs},
              {"starts", row.starts}};
    if (row.podman.pairs != 0) {
      item["podman_run_p50_us"] = rounded(row.podman_us.p50);
      item["podman_ratio_p50"] = rounded(row.podman.ratio);
    }
    json["rows"].push_back(std::move(item));
  }
  return json.dump(2) + "\n";
}

std::string to_json(const RateReport& report) {
  Json json = opening("rate", report);
  add_place(json, report);
  json["size_bytes"] = report.size_bytes;
  json["rows"] = Json::array();
  for (const RateRow& row : report.rows) {
    json["rows"].push_back({{"window", row.window},
                            {"calls_per_s", std::round(row.calls_per_s)},
                            {"sync_calls_per_s", std::round(row.sync_calls_per_s)},
                            {"ratio", rounded(row.ratio)},
                            {"pairs", row.pairs},
                            {"calls", row.calls}});
  }
  return json.dump(2) + "\n";
}

std::string to_json(const BandwidthReport& report) {
  Json json = opening("bandwidth", report);
  add_place(json, report);
  json["window"] = report.window;
  json["rows"] = Json::array();
  for (const BandwidthRow& row : report.rows) {
    json["rows"].push_back({{"size_bytes", row.size_bytes},
                            {"mib_per_s", rounded(row.mib_per_s)},
                            {"raw_mib_per_s", rounded(row.raw_mib_per_s)},
                            {"ratio", rounded(row.ratio)},
                            {"pairs", row.pairs},
                            {"bytes", row.bytes}});
  }
  return json.dump(2) + "\n";
}

std::string to_json(const ConnectReport& report) {
  Json json = opening("connect", report);
  add_place(json, report);
  json["rows"] = Json::array();
  for (const ConnectRow& row : report.rows) {
    json["rows"].push_back({{"connections", row.connections},
                            {"together_p50_us", rounded(row.together_us)},
                            {"one_by_one_p50_us", rounded(row.one_by_one_us)},
                            {"ratio_p50", rounded(row.ratio)},
                            {"together_each_us", rounded(row.together_us / row.connections)},
                            {"rounds", row.rounds}});
  }
  return json.dump(2) + "\n";
}

std::string to_json(const SingleSourceReport& report) {
  Json json = opening("single-source", report);
  add_place(json, report);
  json["rows"] = Json::array();
  for (const SingleSourceRow& row : report.rows) {
    json["rows"].push_back({{"form", row.form},
                            {"p50_us", rounded(row.p50_us)},
                            {row.baseline + "_p50_us", rounded(row.baseline_p50_us)},
                            {"ratio_p50", rounded(row.ratio)},
                            {"pairs", row.pairs}});
  }
  return json.dump(2) + "\n";
}

std::string to_json(const WideReport& report) {
  Json json = opening("wide", report);
  if (!report.manager.empty()) json["manager"] = report.manager;
  json["cpuset"] = report.cpuset;
  json["options"] = report.options;
  json["rows"] = {{{"name", "wide_" + std::to_string(report.cores) + "cores"},
                   {"cores", report.cores},
                   {"p50_us", rounded(report.wide_us.p50)},
                   {"p95_us", rounded(report.wide_us.p95)},
                   {"one_core_p50_us", rounded(report.one_core_us.p50)},
                   {"one_core_p95_us", rounded(report.one_core_us.p95)},
                   {"ratio", rounded(report.pairs.ratio)},
                   {"pairs", report.pairs.pairs},
                   {"calls", report.calls}}};
  return json.dump(2) + "\n";
}

JsonFile::~JsonFile() {
  if (created_ && fd_.valid()) ::unlink(path_.c_str());
}

Result<JsonFile> JsonFile::open(const std::string& path) {
  JsonFile file;
  if (path.empty() || path == "-") return file;
  file.path_ = path;
  file.fd_.reset(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  file.created_ = file.fd_.valid();
  if (!file.created_) file.fd_.reset(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.fd_.valid()) return file;
  return fail(ErrorKind::kInvalid,
              "--json: '" + path + "' cannot be written: " + std::strerror(errno), errno);
}

Result<void> JsonFile::write(const std::string& text) {
  if (!fd_.valid()) return {};
  std::size_t done = 0;
  // Something that is no regular file, /dev/stdout for instance, has no length to cut.
  bool ok = ::ftruncate(fd_.get(), 0) == 0 || errno == EINVAL;
  while (ok && done < text.size()) {
    const ssize_t n = ::write(fd_.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    ok = n > 0;
    if (ok) done += static_cast<std::size_t>(n);
  }
  if (!ok) {
    return fail(ErrorKind::kInvalid, "--json: writing '" + path_ + "': " + std::strerror(errno),
                errno);
  }
  fd_.reset();
  return {};
}

}  // namespace sublet::bench
