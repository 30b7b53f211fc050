#include <base/printable_text.hpp>
#include <cli/output.hpp>
#include <cli/top/top_view.hpp>
#include <resource_manager/refusal_text.hpp>

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

namespace sublet::cli {
namespace {

constexpr std::size_t kLongestFilter = 64;
constexpr std::size_t kMostUsers = 5;  ///< Of a screen.
constexpr std::size_t kPage = 10;

constexpr std::pair<NodeOrder, const char*> kNodeOrders[] = {{NodeOrder::kName, "name"},
                                                             {NodeOrder::kUsed, "used"},
                                                             {NodeOrder::kFree, "free"},
                                                             {NodeOrder::kState, "state"}};
constexpr std::pair<LeaseOrder, const char*> kLeaseOrders[] = {{LeaseOrder::kNumber, "number"},
                                                               {LeaseOrder::kLeft, "left"},
                                                               {LeaseOrder::kCores, "cores"},
                                                               {LeaseOrder::kUser, "user"}};

std::uint32_t used_of(const NodeInfo& node) {
  return node.cores - std::min(node.cores, node.free_cores);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

bool shown(const NodeInfo& node, const std::string& filter) {
  return filter.empty() || has(node.name, filter) || has(node.state, filter);
}

bool shown(const LeaseInfo& lease, const std::string& filter) {
  return filter.empty() || has(lease.owner, filter) || has(lease.state, filter) ||
         has(std::to_string(lease.id), filter) ||
         std::any_of(lease.nodes.begin(), lease.nodes.end(),
                     [&](const std::string& node) { return has(node, filter); });
}

template <class Item>
std::vector<const Item*> chosen(const std::vector<Item>& items, const std::string& filter) {
  std::vector<const Item*> some;
  for (const Item& item : items) {
    if (shown(item, filter)) some.push_back(&item);
  }
  return some;
}

std::vector<const NodeInfo*> ordered_nodes(const TopSnapshot& snapshot, const TopView& view) {
  auto nodes = chosen(snapshot.nodes, view.filter);
  std::stable_sort(nodes.begin(), nodes.end(), [&view](const NodeInfo* a, const NodeInfo* b) {
    switch (view.nodes) {
      case NodeOrder::kUsed:
        return used_of(*a) > used_of(*b);
      case NodeOrder::kFree:
        return a->free_cores > b->free_cores;
      case NodeOrder::kState:
        return a->state < b->state;
      case NodeOrder::kName:
        break;
    }
    return a->name < b->name;
  });
  if (view.reverse) std::reverse(nodes.begin(), nodes.end());
  return nodes;
}

std::vector<const LeaseInfo*> ordered_leases(const TopSnapshot& snapshot, const TopView& view) {
  auto leases = chosen(snapshot.leases, view.filter);
  std::stable_sort(leases.begin(), leases.end(), [&view](const LeaseInfo* a, const LeaseInfo* b) {
    switch (view.leases) {
      case LeaseOrder::kLeft:
        return a->expires_unix_ms < b->expires_unix_ms;
      case LeaseOrder::kCores:
        return a->cores > b->cores;
      case LeaseOrder::kUser:
        return a->owner < b->owner;
      case LeaseOrder::kNumber:
        break;
    }
    return a->id < b->id;
  });
  if (view.reverse) std::reverse(leases.begin(), leases.end());
  return leases;
}

/// "[####----]"
std::string bar(std::uint32_t used, std::uint32_t all) {
  constexpr std::uint64_t kWidth = 10;
  const std::uint64_t full = all == 0 ? 0 : (kWidth * used + all - 1) / all;
  return "[" + std::string(full, '#') + std::string(kWidth - full, '-') + "]";
}

std::string left_text(const LeaseInfo& lease, std::int64_t now) {
  if (lease.expires_unix_ms <= now) return "0:00";
  const std::int64_t seconds = (lease.expires_unix_ms - now) / 1000;
  std::ostringstream text;
  if (seconds >= 3600) text << seconds / 3600 << ':';
  if (seconds >= 3600 && seconds / 60 % 60 < 10) text << '0';
  text << seconds / 60 % 60 << ':' << (seconds % 60 < 10 ? "0" : "") << seconds % 60;
  return text.str();
}

std::string joined_nodes(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i == 0 ? "" : ",") + names[i];
  }
  if (names.size() > kMost) text += ",+" + std::to_string(names.size() - kMost);
  return text.empty() ? "-" : text;
}

using Rows = std::vector<std::vector<std::string>>;

Rows node_rows(const TopSnapshot& snapshot, const TopView& view) {
  Rows rows = {{"NODE", "STATE", "USED", "CORES", "", "FREE MEMORY", "WARM", "HEARD", "CLOCK"}};
  for (const NodeInfo* node : ordered_nodes(snapshot, view)) {
    rows.push_back({node->name, node->state, std::to_string(used_of(*node)),
                    std::to_string(node->cores), bar(used_of(*node), node->cores),
                    manager::bytes_text(node->free_memory_bytes),
                    std::to_string(node->warm_executors),
                    std::to_string(node->heartbeat_age.count() / 1000) + " s",
                    clock_text(node->clock_ahead, node->clock_error)});
  }
  return rows;
}

Rows lease_rows(const TopSnapshot& snapshot, const TopView& view) {
  Rows rows = {{"LEASE", "STATE", "USER", "CORES", "LEFT", "NODES", "WHY"}};
  for (const LeaseInfo* lease : ordered_leases(snapshot, view)) {
    rows.push_back({std::to_string(lease->id), lease->state, lease->owner,
                    std::to_string(lease->cores), left_text(*lease, snapshot.now_unix_ms),
                    joined_nodes(lease->nodes), lease->reason});
  }
  return rows;
}

/// Whoever has most first.
Rows user_rows(const TopSnapshot& snapshot, const TopView& view) {
  struct Sums {
    std::uint64_t cores = 0;
    std::size_t leases = 0;
    std::size_t waiting = 0;
  };
  std::map<std::string, Sums> users;
  for (const LeaseInfo* lease : ordered_leases(snapshot, view)) {
    Sums& sums = users[lease->owner.substr(0, lease->owner.find('@'))];
    const bool waits = lease->state == "waiting";
    sums.cores += waits ? 0 : lease->cores;
    (waits ? sums.waiting : sums.leases) += 1;
  }
  std::vector<std::pair<std::string, Sums>> order(users.begin(), users.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.cores > b.second.cores; });
  Rows rows = {{"USER", "CORES", "LEASES", "WAITING"}};
  for (const auto& [name, sums] : order) {
    rows.push_back({name, std::to_string(sums.cores), std::to_string(sums.leases),
                    std::to_string(sums.waiting)});
  }
  return rows;
}

std::vector<std::string> lines_of(Rows rows) {
  std::vector<std::string> lines;
  std::istringstream text(format_table(std::move(rows)));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::string summary(const TopSnapshot& snapshot) {
  std::map<std::string, std::size_t> states;
  std::uint64_t cores = 0;
  std::uint64_t used = 0;
  for (const NodeInfo& node : snapshot.nodes) {
    ++states[node.state];
    if (node.state == "lost") continue;
    cores += node.cores;
    used += used_of(node);
  }
  const auto waiting =
      std::count_if(snapshot.leases.begin(), snapshot.leases.end(),
                    [](const LeaseInfo& lease) { return lease.state == "waiting"; });
  std::ostringstream text;
  text << "nodes " << states["up"] << " up, " << states["draining"] << " draining, "
       << states["lost"] << " lost; cores " << used << " of " << cores << " in use";
  if (cores != 0) text << " (" << 100 * used / cores << " %)";
  text << "; leases " << static_cast<std::ptrdiff_t>(snapshot.leases.size()) - waiting
       << ", waiting " << waiting;
  return text.str();
}

std::string status_line(const TopSnapshot& snapshot, const TopView& view) {
  if (view.editing) return "filter: " + view.filter + "_  (Enter keeps it, Escape clears it)";
  if (!snapshot.problem.empty()) return base::printable(snapshot.problem);
  std::string text = std::string("q quit  n nodes by ") + to_string(view.nodes) + "  l leases by " +
                     to_string(view.leases) + "  r " + (view.reverse ? "reversed" : "reverse") +
                     "  / filter";
  if (!view.filter.empty()) text += " '" + base::printable(view.filter) + "'";
  return text + "  Tab list  p " + (view.paused ? "paused" : "pause");
}

/// At most `columns` characters of it; continuation bytes of UTF-8 take no room.
std::string cut(const std::string& line, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(line[i]) & 0xC0) != 0x80;
    if (begins && ++characters > columns) return line.substr(0, i);
  }
  return line;
}

/// The heading and `room` lines after it from `offset` on, which is brought back into the list.
void add_part(std::vector<std::string>& screen, const std::vector<std::string>& lines,
              std::size_t& offset, std::size_t room) {
  const std::size_t items = lines.size() - std::min<std::size_t>(lines.size(), 1);
  const std::size_t fit = room - std::min<std::size_t>(room, 1);
  offset = std::min(offset, items > fit ? items - fit : 0);
  if (lines.empty() || room == 0) return;
  screen.push_back(lines.front());
  for (std::size_t i = 0; i < std::min(fit, items - offset); ++i) {
    screen.push_back(lines[1 + offset + i]);
  }
}

bool take_editing(const std::string& key, TopView& view) {
  if (key == "\n" || key == "\r") {
    view.editing = false;
  } else if (key == "\x1b") {
    view.editing = false;
    view.filter.clear();
  } else if (key == "\x7f" || key == "\b") {
    if (!view.filter.empty()) view.filter.pop_back();
  } else if (key.size() == 1 && key[0] >= ' ' && view.filter.size() < kLongestFilter) {
    view.filter += key;
  }
  return true;
}

void move(TopView& view, std::ptrdiff_t by) {
  std::size_t& offset = view.in_leases ? view.lease_offset : view.node_offset;
  const auto moved = static_cast<std::ptrdiff_t>(offset) + by;
  offset = moved < 0 ? 0 : static_cast<std::size_t>(moved);
}

/// A key with what its escape sequence has: "\x1b[A" is the arrow up.
std::string first_key(std::string& keys) {
  std::size_t size = 1;
  if (keys.size() > 2 && keys[0] == '\x1b' && (keys[1] == '[' || keys[1] == 'O')) {
    size = 3;
    while (size < keys.size() && keys[size - 1] < '@') ++size;
  }
  std::string key = keys.substr(0, size);
  keys.erase(0, size);
  return key;
}

}  // namespace

const char* to_string(NodeOrder order) {
  for (const auto& [each, name] : kNodeOrders) {
    if (each == order) return name;
  }
  return "?";
}

const char* to_string(LeaseOrder order) {
  for (const auto& [each, name] : kLeaseOrders) {
    if (each == order) return name;
  }
  return "?";
}

Result<NodeOrder> node_order(const std::string& name) {
  for (const auto& [order, known] : kNodeOrders) {
    if (name == known) return order;
  }
  return fail(ErrorKind::kInvalid,
              "--sort is '" + name + "'; it must be name, used, free or state");
}

Result<LeaseOrder> lease_order(const std::string& name) {
  for (const auto& [order, known] : kLeaseOrders) {
    if (name == known) return order;
  }
  return fail(ErrorKind::kInvalid,
              "--sort-leases is '" + name + "'; it must be number, left, cores or user");
}

std::vector<std::string> top_screen(const TopSnapshot& snapshot, TopView& view,
                                    const ScreenSize& size) {
  std::vector<std::string> screen = {"sublet top: " + base::printable(snapshot.address),
                                     summary(snapshot), status_line(snapshot, view), ""};
  const auto nodes = lines_of(node_rows(snapshot, view));
  const auto leases = lines_of(lease_rows(snapshot, view));
  auto users = lines_of(user_rows(snapshot, view));
  users.resize(std::min(users.size(), kMostUsers + 1));
  const std::size_t rows = std::max<std::size_t>(size.rows, screen.size() + 1);
  std::size_t room = rows - screen.size();
  // Users first, of what three lists of a few lines leave; then nodes and leases share.
  const std::size_t for_users = room > 12 ? users.size() + 1 : 0;
  room -= for_users;
  const std::size_t half = (room - 1) / 2;
  const std::size_t for_leases =
      std::min(leases.size(), std::max(half, room - 1 - std::min(nodes.size(), room - 1)));
  add_part(screen, nodes, view.node_offset, room - 1 - for_leases);
  screen.emplace_back();
  add_part(screen, leases, view.lease_offset, for_leases);
  if (for_users != 0) {
    screen.emplace_back();
    std::size_t none = 0;
    add_part(screen, users, none, for_users - 1);
  }
  screen.resize(std::min(screen.size(), size.rows));
  for (std::string& line : screen) line = cut(line, size.columns);
  return screen;
}

std::string top_text(const TopSnapshot& snapshot, const TopView& view) {
  return summary(snapshot) + "\n\n" + format_table(node_rows(snapshot, view)) + "\n" +
         format_table(lease_rows(snapshot, view)) + "\n" + format_table(user_rows(snapshot, view));
}

bool take_key(std::string& keys, TopView& view) {
  const std::string key = first_key(keys);
  if (view.editing) return take_editing(key, view);
  if (key == "q" || key == "\x03" || key == "\x04") return false;
  if (key == "n") {
    view.nodes =
        static_cast<NodeOrder>((static_cast<unsigned>(view.nodes) + 1) % std::size(kNodeOrders));
  } else if (key == "l") {
    view.leases =
        static_cast<LeaseOrder>((static_cast<unsigned>(view.leases) + 1) % std::size(kLeaseOrders));
  } else if (key == "r") {
    view.reverse = !view.reverse;
  } else if (key == "p") {
    view.paused = !view.paused;
  } else if (key == "/") {
    view.editing = true;
  } else if (key == "\x1b") {
    view.filter.clear();
  } else if (key == "\t") {
    view.in_leases = !view.in_leases;
  } else if (key == "\x1b[A" || key == "\x1bOA" || key == "k") {
    move(view, -1);
  } else if (key == "\x1b[B" || key == "\x1bOB" || key == "j") {
    move(view, 1);
  } else if (key == "\x1b[5~") {
    move(view, -static_cast<std::ptrdiff_t>(kPage));
  } else if (key == "\x1b[6~") {
    move(view, static_cast<std::ptrdiff_t>(kPage));
  }
  return true;
}

}  // namespace sublet::cli
