#include <base/printable_text.hpp>
#include <cli/drain_text.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>

namespace sublet::cli {
namespace {

using nlohmann::json;
using wire::DrainEnd;

struct Count {
  std::uint64_t number;
  const char* what;
};

/// "2 ended in order, 1 was cut off"; what there is none of is left out.
std::string list_of(std::initializer_list<Count> counts) {
  std::string text;
  for (const Count& count : counts) {
    if (count.number == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(count.number) + " " + count.what;
  }
  return text.empty() ? "none" : text;
}

std::string headline(const std::string& node, const wire::DrainReport& report) {
  switch (report.end) {
    case DrainEnd::LEFT:
      return "node " + node + " has left";
    case DrainEnd::LOST:
      return "node " + node + " was lost while it drained: what became of its calls is not known";
    case DrainEnd::RETURNED:
      return "node " + node +
             " is up and does not drain: its executor manager was started again, or lost its "
             "connection before it had heard the order";
    case DrainEnd::CANCELLED:
      return "node " + node + " stays: the drain was cancelled";
    case DrainEnd::DRAINING:
      break;
  }
  return "node " + node + " has not left although its time is over; `sublet nodes` shows it";
}

std::string text_of(const std::string& node, const wire::DrainReport& report) {
  std::string text = headline(node, report);
  if (report.end == DrainEnd::LOST) {
    text += "\nleases  " + list_of({{report.leases_lost, "lost"}});
  }
  if (report.end != DrainEnd::LEFT) return text;
  if (!report.counts) return text + "; it did not say what became of its leases";
  const wire::DrainCounts& counts = *report.counts;
  text += "\nleases  " + list_of({{counts.in_order, "ended in order"},
                                  {counts.cut_off, "cut off when the time was over"},
                                  {counts.broken, "whose executor died or was killed"},
                                  {counts.unclaimed, "not claimed by a client"}});
  text += "\ncalls   " +
          list_of({{counts.calls_finished, "finished"},
                   {counts.calls_cut_off, "cut off when the time was over"},
                   {counts.workers_unknown, "may have been cut off (their executor was killed)"}});
  return text;
}

json to_value(const wire::DrainReport& report) {
  json value = {{"node_id", report.node_id}, {"end", wire::to_string(report.end)}};
  if (report.end == DrainEnd::LOST) value["leases_lost"] = report.leases_lost;
  if (!report.counts) return value;
  const wire::DrainCounts& counts = *report.counts;
  value["leases"] = {{"in_order", counts.in_order},
                     {"cut_off", counts.cut_off},
                     {"broken", counts.broken},
                     {"unclaimed", counts.unclaimed}};
  value["calls"] = {{"finished", counts.calls_finished},
                    {"cut_off", counts.calls_cut_off},
                    {"unknown", counts.workers_unknown}};
  return value;
}

}  // namespace

std::string drain_text(const std::string& node, std::span<const wire::DrainReport> reports) {
  std::string text;
  for (const wire::DrainReport& report : reports) {
    text += (text.empty() ? "" : "\n") + text_of(base::printable(node), report);
  }
  return text;
}

std::string drain_json(const std::string& node, const char* result,
                       std::span<const wire::DrainReport> reports) {
  auto drained = json::array();
  for (const wire::DrainReport& report : reports) drained.push_back(to_value(report));
  return json{{"node", node}, {"result", result}, {"drained", std::move(drained)}}.dump(
      2, ' ', false, json::error_handler_t::replace);
}

}  // namespace sublet::cli
