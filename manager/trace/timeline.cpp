#include <base/system_text.hpp>

#include <nlohmann/json.hpp>
#include <trace/timeline.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <optional>
#include <tuple>
#include <unordered_map>

namespace sublet::trace {
namespace {

using nlohmann::json;

/// Of its elements in {"traceEvents": [...]}.
constexpr int kEventDepth = 2;
/// Microseconds of a century: what is longer is no time.
constexpr double kLongestUs = 3.2e15;

/// Takes events one by one, so that a large file takes little memory.
class Reader {
 public:
  void take(const json& event) {
    ++events_;
    if (!problem_.empty()) return;
    const auto kind = event.find("ph");
    if (kind == event.end() || !kind->is_string()) return complain("has no kind ('ph')");
    if (*kind == "X") take_slice(event);
    if (*kind == "M") take_name(event);
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  Timeline timeline;

 private:
  void complain(const std::string& what) {
    problem_ = "event " + std::to_string(events_) + " " + what;
  }
  std::optional<std::uint64_t> whole(const json& event, const char* key) {
    const auto value = event.find(key);
    if (value != event.end() && value->is_number_unsigned()) return value->get<std::uint64_t>();
    complain(std::string("has no whole number '") + key + "'");
    return std::nullopt;
  }
  std::optional<std::int64_t> time_ns(const json& event, const char* key) {
    const auto value = event.find(key);
    if (value != event.end() && value->is_number()) {
      const auto us = value->get<double>();
      if (us >= 0 && us < kLongestUs) return std::llround(us * 1000);
    }
    complain(std::string("has no time '") + key + "' in microseconds");
    return std::nullopt;
  }
  std::optional<std::string> text(const json& event, const char* key) {
    const auto value = event.find(key);
    if (value != event.end() && value->is_string()) return value->get<std::string>();
    complain(std::string("has no text '") + key + "'");
    return std::nullopt;
  }

  void take_slice(const json& event) {
    const auto name = text(event, "name");
    const auto pid = whole(event, "pid");
    const auto tid = whole(event, "tid");
    const auto begin = time_ns(event, "ts");
    const auto length = time_ns(event, "dur");
    if (!name || !pid || !tid || !begin || !length) return;
    const auto [place, is_new] =
        names_.try_emplace(*name, static_cast<std::uint32_t>(timeline.names.size()));
    if (is_new) timeline.names.push_back(*name);
    timeline.processes.try_emplace(*pid);
    timeline.rows[{*pid, *tid}].slices.push_back({place->second, *begin, *begin + *length});
  }

  void take_name(const json& event) {
    const auto kind = text(event, "name");
    if (!kind || (*kind != "process_name" && *kind != "thread_name")) return;
    const auto pid = whole(event, "pid");
    const auto tid = whole(event, "tid");
    const auto args = event.find("args");
    if (args == event.end()) return complain("has no 'args'");
    const auto name = text(*args, "name");
    if (!pid || !tid || !name) return;
    if (*kind == "process_name") timeline.processes[*pid] = *name;
    if (*kind == "thread_name") timeline.rows[{*pid, *tid}].name = *name;
  }

  std::size_t events_ = 0;
  std::string problem_;
  std::unordered_map<std::string, std::uint32_t> names_;
};

}  // namespace

Result<Timeline> Timeline::read(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return fail(ErrorKind::kInvalid,
                "reading the timeline '" + path + "': " + base::system_text(errno), errno);
  }
  Reader reader;
  std::string error;
  try {
    [[maybe_unused]] const json rest =
        json::parse(file, [&reader](int depth, json::parse_event_t event, json& parsed) {
          if (depth != kEventDepth || event != json::parse_event_t::object_end) return true;
          reader.take(parsed);
          return false;
        });
  } catch (const json::exception& exception) {
    error = exception.what();
  }
  if (error.empty()) error = reader.problem();
  if (error.empty() && reader.timeline.rows.empty()) error = "it has no rows";
  if (!error.empty()) {
    return fail(ErrorKind::kInvalid, "'" + path + "' is no timeline of Sublet: " + error +
                                         "; Session::write_trace and sublet::mpi::Allocator::"
                                         "write_trace write one");
  }
  return std::move(reader.timeline);
}

void Timeline::nest() {
  for (auto& [id, row] : rows) {
    std::stable_sort(row.slices.begin(), row.slices.end(), [](const Slice& a, const Slice& b) {
      return std::tie(a.begin_ns, b.end_ns) < std::tie(b.begin_ns, a.end_ns);
    });
    std::vector<std::int64_t> ends;
    for (Slice& slice : row.slices) {
      while (!ends.empty() && ends.back() <= slice.begin_ns) ends.pop_back();
      if (!ends.empty()) slice.end_ns = std::min(slice.end_ns, ends.back());
      ends.push_back(slice.end_ns);
    }
  }
}

}  // namespace sublet::trace
