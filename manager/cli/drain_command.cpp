#include <cli/command.hpp>
#include <cli/drain_text.hpp>
#include <cli/exit_codes.hpp>
#include <cli/manager_options.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/manager_query.hpp>

#include <boost/program_options.hpp>

#include <algorithm>
#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine drain_command_line() {
  CommandLine line;
  line.name = "drain";
  line.arguments = "NODE [OPTIONS]";
  line.about =
      "Gives a node back, as SIGTERM to its executor manager does: it gets no new leases, clients\n"
      "are told how much time is left, calls under way end, and once its leases have ended its\n"
      "executor manager leaves and ends. Waits until the node has left, and says what became of "
      "its\n"
      "leases and calls; ends with code 5 when it has not left in order.";
  line.options.add_options()("node", po::value<std::string>()->required(),
                             "name of the node; `sublet nodes` lists them")(
      "time", po::value<std::string>()->default_value(""),
      "its leases end at the latest after this time, for instance 500ms, 30s or 5min; by default "
      "each after its own notice period")(
      "reason", po::value<std::string>()->default_value("the node is being given back"),
      "what its clients are told")("no-wait", "return when the node has been told")(
      "cancel",
      "take a drain back that such a command has begun: the node gets leases again, and the leases "
      "that it still has go on");
  line.positional = "node";
  add_manager_options(line);
  add_output_option(line);
  return line;
}

namespace {

/// With --cancel nothing else says how to drain.
Result<void> check_cancel(const Values& values) {
  for (const char* const other : {"time", "reason"}) {
    if (!values[other].defaulted()) {
      return fail(ErrorKind::kInvalid, "--" + std::string(other) + " has no meaning with --cancel");
    }
  }
  if (values.count("no-wait") == 0) return {};
  return fail(ErrorKind::kInvalid, "--no-wait has no meaning with --cancel");
}

void print(const Values& values, const std::string& text, const std::string& json) {
  const bool wants_json = values["output"].as<std::string>() == "json";
  std::cout << (wants_json ? json : text) << "\n";
}

Result<int> cancel(const Values& values, const std::string& node) {
  if (auto ok = check_cancel(values); !ok) return tl::unexpected<Error>(ok.error());
  const auto cancelled = ask_manager(values, [&](const ManagerTarget& target) {
    return manager::cancel_drain(target.location, node, target.timeout);
  });
  if (!cancelled) return tl::unexpected<Error>(cancelled.error());
  print(values, "node " + node + " stays", drain_json(node, "cancelled", {}));
  return kExitOk;
}

Result<int> drain(const Values& values, const std::string& node) {
  const bool own_notice = values["time"].defaulted();
  const auto time = own_notice ? Result<std::chrono::milliseconds>(wire::kMaxNotice)
                               : parse_duration(values["time"].as<std::string>());
  if (!time) return fail(ErrorKind::kInvalid, "--time: " + std::string(time.error().what()));
  const auto& reason = values["reason"].as<std::string>();
  const bool wait = values.count("no-wait") == 0;
  std::vector<wire::DrainReport> reports;
  const auto drained = ask_manager(values, [&](const ManagerTarget& target) -> Result<void> {
    if (!wait) {
      return manager::order_drain(target.location, node, *time, reason, target.timeout, own_notice);
    }
    auto known =
        manager::await_drain(target.location, node, *time, reason, target.timeout, own_notice);
    if (!known) return tl::unexpected<Error>(known.error());
    reports = std::move(*known);
    return {};
  });
  if (!drained) return tl::unexpected<Error>(drained.error());
  if (reports.empty()) {
    print(values,
          "node " + node + " drains; its leases end within " +
              (own_notice ? std::string("their notice periods")
                          : std::to_string(time->count()) + " ms") +
              (wait ? " (this manager is of a version that does not say when)" : ""),
          drain_json(node, "told", {}));
    return kExitOk;
  }
  print(values, drain_text(node, reports), drain_json(node, "drained", reports));
  const bool all_left = std::all_of(reports.begin(), reports.end(), [](const auto& report) {
    return report.end == wire::DrainEnd::LEFT;
  });
  return all_left ? kExitOk : kExitNotDone;
}

}  // namespace

int drain_command(const std::vector<std::string>& words) {
  return run_command_for_code(drain_command_line(), words, [](const Values& values) -> Result<int> {
    if (auto format = output_format(values); !format) {
      return tl::unexpected<Error>(format.error());
    }
    const auto& node = values["node"].as<std::string>();
    return values.count("cancel") != 0 ? cancel(values, node) : drain(values, node);
  });
}

}  // namespace sublet::cli
