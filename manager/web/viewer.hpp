#pragma once

#include <resource_manager/resource_manager_service.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace sublet::manager::web {

/// What a caller may see: all leases and users, or his own and the sums of the others. A value.
struct Viewer {
  std::optional<std::uint32_t> only_uid;  ///< Nothing: all.
  std::string name;                       ///< His own, for the page.

  [[nodiscard]] bool sees(std::uint32_t uid) const { return !only_uid || *only_uid == uid; }
  [[nodiscard]] std::uint64_t key() const { return only_uid ? *only_uid : std::uint64_t{1} << 32; }

  /// As `authorize` decides it. kDenied: he may not even see the nodes.
  static Result<Viewer> of(const Caller& caller, const Operators& operators) {
    if (auto may = authorize(caller, Right::kViewNodes, operators); !may) {
      return tl::unexpected<Error>(std::move(may.error()));
    }
    Viewer viewer;
    viewer.name = caller.proved() ? user_name(caller.uid) : "somebody unproved";
    if (!authorize(caller, Right::kViewOthers, operators)) viewer.only_uid = caller.uid;
    return viewer;
  }
};

/// A lease's user for people: his name, or what he says of himself where nothing proves it.
inline std::string user_of(std::uint32_t uid, const std::string& owner) {
  if (uid != kUnknownUid) return user_name(uid);
  const std::string said = owner.substr(0, owner.find('@'));
  return said.empty() ? "unknown" : said;
}

}  // namespace sublet::manager::web
