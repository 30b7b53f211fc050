#include <transport/any/choice.hpp>
#include <transport/any/transports.hpp>

#include <algorithm>
#include <utility>

namespace sublet::transport {
namespace {

std::string names_of(const std::vector<Kind>& kinds) {
  std::string text;
  for (const Kind kind : kinds) text += (text.empty() ? "" : ", ") + std::string(to_string(kind));
  return text;
}

Result<Preference> obey(bool same_node, const std::string& wanted) {
  const auto kind = kind_named(wanted);
  if (!kind) {
    return fail(ErrorKind::kInvalid,
                "there is no transport '" + wanted + "'; there are " + kind_names());
  }
  if (!same_node && !reaches_other_nodes(*kind)) {
    return fail(ErrorKind::kUnsupported,
                "transport " + wanted + " was asked for, and the executor is on another node");
  }
  return Preference{{*kind}, wanted + ": asked for by name"};
}

}  // namespace

void Endpoint::add(const std::string& name, std::string address, const std::string& host) {
  const auto kind = kind_named(name);
  if (!kind) return;  // of a newer executor manager
  if (address.starts_with("*:")) address = host + address.substr(1);
  addresses.push_back({*kind, std::move(address)});
}

void Endpoint::add_local(std::string address) {
  addresses.push_back({same_node_kind(), std::move(address)});
}

Result<Preference> prefer(bool same_node, const std::string& wanted) {
  if (!wanted.empty()) return obey(same_node, wanted);
  const Kind local = same_node_kind();
  const std::string local_name = to_string(local);
  if (same_node) return Preference{{local}, local_name + ": the executor is on this node"};
  Preference preference;
  preference.reasons = "not " + local_name + ": the executor is on another node";
  Transports::for_each([&]<class Row>(Kind kind) {
    if constexpr (Row::kReach == Reach::kOtherNodes) {
      const Finding finding = Row::recommended();
      if (finding.good) preference.kinds.push_back(kind);
      preference.reasons +=
          (finding.good ? "; " : "; not ") + std::string(Row::kName) + ": " + finding.text;
    }
  });
  return preference;
}

Result<Endpoint::Address> choose(const Endpoint& endpoint, const Preference& preference) {
  for (const Kind kind : preference.kinds) {
    const auto found =
        std::find_if(endpoint.addresses.begin(), endpoint.addresses.end(),
                     [&](const Endpoint::Address& address) { return address.kind == kind; });
    if (found != endpoint.addresses.end()) return *found;
  }
  std::string text = "this process would use " + names_of(preference.kinds) + " (" +
                     preference.reasons + "), and the executor takes none of it";
  for (const std::string& refusal : endpoint.refusals) text += "; " + refusal;
  return fail(ErrorKind::kUnsupported, text);
}

}  // namespace sublet::transport
