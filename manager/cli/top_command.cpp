#include <cli/command.hpp>
#include <cli/exit_codes.hpp>
#include <cli/run_command.hpp>
#include <cli/top/snapshot_source.hpp>
#include <cli/top/terminal_screen.hpp>
#include <cli/top/top_view.hpp>

#include <boost/program_options.hpp>

#include <cstdlib>
#include <iostream>
#include <optional>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine top_command_line() {
  CommandLine line;
  line.name = "top";
  line.arguments = "[OPTIONS]";
  line.about =
      "Shows nodes with the cores in use, leases with the time that they have left, and users, "
      "again "
      "and\nagain, in a terminal. Keys: q quits, n and l change the order of nodes and leases, r "
      "reverses it,\n/ asks for a filter (a part of a name, user, state or number), Tab and the "
      "arrow "
      "keys move in a list,\np pauses.";
  line.options.add_options()("interval", po::value<std::string>()->default_value("1s"),
                             "how often it asks, at least 100ms")(
      "once", po::bool_switch(), "print it once, without a terminal")(
      "sort", po::value<std::string>()->default_value("name"),
      "order of nodes: name, used, free or state")(
      "sort-leases", po::value<std::string>()->default_value("number"),
      "order of leases: number, left, cores or user")(
      "filter", po::value<std::string>()->default_value(""),
      "only nodes and leases with this in a name, user, state or number");
  line.choices["sort"] = {"name", "used", "free", "state"};
  line.choices["sort-leases"] = {"number", "left", "cores", "user"};
  add_manager_options(line);
  return line;
}

namespace {

Result<TopView> read_view(const Values& values) {
  TopView view;
  const auto nodes = node_order(values["sort"].as<std::string>());
  if (!nodes) return tl::unexpected<Error>(nodes.error());
  const auto leases = lease_order(values["sort-leases"].as<std::string>());
  if (!leases) return tl::unexpected<Error>(leases.error());
  view.nodes = *nodes;
  view.leases = *leases;
  view.filter = values["filter"].as<std::string>();
  return view;
}

Result<std::chrono::milliseconds> read_interval(const Values& values) {
  constexpr std::chrono::milliseconds kLeast{100};
  constexpr std::chrono::hours kMost{1};
  const auto& text = values["interval"].as<std::string>();
  auto interval = parse_duration(text, kMost);
  if (interval && *interval >= kLeast) return interval;
  return fail(ErrorKind::kInvalid,
              "--interval is '" + text + "'; it must be a time from 100ms to 1h");
}

Result<int> show_once(const Values& values, const TopView& view) {
  const auto snapshot = ask_manager(values, take_snapshot);
  if (!snapshot) return tl::unexpected<Error>(snapshot.error());
  std::cout << top_text(*snapshot, view);
  return kExitOk;
}

/// Until a key or a signal ends it.
void watch(TerminalScreen& screen, SnapshotSource& source, TopView view) {
  using Event = TerminalScreen::Event;
  TopSnapshot snapshot = source.newest();
  std::string keys;
  for (;;) {
    screen.draw(top_screen(snapshot, view, screen.size()));
    switch (screen.wait(source.news(), -1, keys)) {
      case Event::kEnd:
        return;
      case Event::kOther: {
        TopSnapshot newest = source.newest();
        if (!view.paused) snapshot = std::move(newest);
        break;
      }
      case Event::kKeys:
        while (!keys.empty()) {
          if (!take_key(keys, view)) return;
        }
        break;
      case Event::kNone:
      case Event::kResized:
        break;
    }
  }
}

Result<int> run_top(const Values& values) {
  const auto view = read_view(values);
  if (!view) return tl::unexpected<Error>(view.error());
  const auto interval = read_interval(values);
  if (!interval) return tl::unexpected<Error>(interval.error());
  if (values["once"].as<bool>()) return show_once(values, *view);
  const auto target = manager_target(values);
  if (!target) return tl::unexpected<Error>(target.error());
  {
    auto screen = TerminalScreen::open();
    if (!screen) return tl::unexpected<Error>(screen.error());
    auto source = SnapshotSource::start(*target, *interval);
    if (!source) return tl::unexpected<Error>(source.error());
    watch(*screen, *source, *view);
  }
  std::_Exit(kExitOk);  // a thread may be within a call still
}

}  // namespace

int top_command(const std::vector<std::string>& words) {
  return run_command_for_code(top_command_line(), words, run_top);
}

}  // namespace sublet::cli
