#include <base/printable_text.hpp>
#include <cli/command.hpp>
#include <cli/manager_options.hpp>
#include <cli/output.hpp>
#include <cli/run_command.hpp>
#include <common/auth/caller.hpp>
#include <common/manager_query.hpp>
#include <common/views.hpp>

#include <boost/program_options.hpp>
#include <pwd.h>

#include <array>
#include <charconv>
#include <iostream>

namespace sublet::cli {

namespace po = boost::program_options;

CommandLine quota_command_line() {
  CommandLine line;
  line.name = "quota";
  line.arguments = "[set|clear] [OPTIONS]";
  line.about =
      "Shows how much users may have, hold and use today; with `set` and `clear` operators change "
      "it.\n"
      "A request beyond the quota is refused, or waits if it may. With --state-dir what is set "
      "stays\n"
      "when the resource manager is started again; it counts for more than its options "
      "--quota-....";
  line.options.add_options()("action", po::value<std::string>()->default_value("show"),
                             "show, set or clear")(
      "user", po::value<std::string>()->default_value(""),
      "whose: a name, or a uid; by default everybody's who has none of his own")(
      "cores", po::value<std::string>(),
      "how many cores at one time, or none: as many as there are")(
      "core-seconds", po::value<std::string>(), "how many core-seconds in a day (UTC), or none");
  line.positional = "action";
  line.choices["action"] = {"show", "set", "clear"};
  add_manager_options(line);
  add_output_option(line);
  return line;
}

namespace {

Result<std::uint32_t> find_uid(const std::string& user) {
  std::uint32_t uid = 0;
  const char* const end = user.data() + user.size();
  const auto [rest, error] = std::from_chars(user.data(), end, uid);
  if (error == std::errc() && rest == end && uid != manager::kUnknownUid) return uid;
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) return found->pw_uid;
  return fail(ErrorKind::kInvalid,
              "--user is '" + base::printable(user) + "', which is no user here, and no uid");
}

Result<wire::QuotaOrder> read_order(const Values& values, bool clear) {
  wire::QuotaOrder order;
  order.clear = clear;
  const auto& user = values["user"].as<std::string>();
  order.everybody = user.empty();
  if (!order.everybody) {
    const auto uid = find_uid(user);
    if (!uid) return tl::unexpected<Error>(uid.error());
    order.uid = *uid;
  }
  const auto read = [&](const char* option, bool& set,
                        std::optional<std::uint64_t>& to) -> Result<void> {
    if (values.count(option) == 0) return {};
    const auto amount = parse_amount(option, values[option].as<std::string>());
    if (!amount) return tl::unexpected<Error>(amount.error());
    set = true;
    to = *amount;
    return {};
  };
  if (auto ok = read("cores", order.set_cores, order.quota.cores); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  if (auto ok = read("core-seconds", order.set_core_seconds, order.quota.core_seconds); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  const bool sets = order.set_cores || order.set_core_seconds;
  if (clear == sets) {
    return fail(ErrorKind::kInvalid, clear ? "clear takes no --cores and no --core-seconds"
                                           : "set needs --cores, --core-seconds or both");
  }
  return order;
}

std::string amount_text(const std::optional<std::uint64_t>& amount) {
  return amount ? std::to_string(*amount) : "none";
}

std::string who_text(const wire::QuotaInfo& info) {
  if (info.everybody) return "everybody else";
  if (info.uid == manager::kUnknownUid) return "not proved";
  return info.user.empty() ? std::to_string(info.uid) : info.user;
}

std::string seconds_text(double value) {
  return std::to_string(static_cast<std::uint64_t>(std::max(0.0, value)));
}

std::string quotas_table(const std::vector<wire::QuotaInfo>& infos) {
  std::vector<std::vector<std::string>> rows = {
      {"USER", "CORES", "HELD", "CORE-S A DAY", "USED TODAY", "PROMISED", "WAITING", "SHARE"}};
  for (const wire::QuotaInfo& info : infos) {
    const bool all = info.everybody;
    std::array<char, 64> share{};
    std::snprintf(share.data(), share.size(), "%.2f", info.share);
    rows.push_back(
        {who_text(info), amount_text(info.quota.cores), all ? "-" : std::to_string(info.held_cores),
         amount_text(info.quota.core_seconds), all ? "-" : seconds_text(info.used_core_seconds),
         all ? "-" : seconds_text(info.promised_core_seconds),
         all ? "-" : std::to_string(info.waiting), all ? "-" : share.data()});
  }
  return format_table(rows);
}

Result<void> show_quotas(const Values& values) {
  auto quotas = ask_manager(values, [](const ManagerTarget& target) {
    return manager::query_quotas(target.location, target.timeout);
  });
  if (!quotas) return tl::unexpected<Error>(quotas.error());
  if (const auto& user = values["user"].as<std::string>(); !user.empty()) {
    const auto uid = find_uid(user);
    if (!uid) return tl::unexpected<Error>(uid.error());
    std::erase_if(*quotas, [&uid](const auto& info) { return info.everybody || info.uid != *uid; });
  }
  const bool json = values["output"].as<std::string>() == "json";
  std::cout << (json ? manager::to_json(*quotas) + "\n" : quotas_table(*quotas));
  return {};
}

Result<void> change_quota(const Values& values, bool clear) {
  const auto order = read_order(values, clear);
  if (!order) return tl::unexpected<Error>(order.error());
  const auto set = ask_manager(values, [&order](const ManagerTarget& target) {
    return manager::set_quota(target.location, *order, target.timeout);
  });
  if (!set) return tl::unexpected<Error>(set.error());
  return show_quotas(values);
}

}  // namespace

int quota_command(const std::vector<std::string>& words) {
  return run_command(quota_command_line(), words, [](const Values& values) -> Result<void> {
    if (auto format = output_format(values); !format) {
      return tl::unexpected<Error>(format.error());
    }
    const auto& action = values["action"].as<std::string>();
    if (action == "show") return show_quotas(values);
    if (action == "set") return change_quota(values, false);
    if (action == "clear") return change_quota(values, true);
    return fail(ErrorKind::kInvalid, "'" + base::printable(action) +
                                         "' is nothing that can be done with quotas; show, set and "
                                         "clear are");
  });
}

}  // namespace sublet::cli
