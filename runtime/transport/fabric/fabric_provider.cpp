#include <base/log.hpp>
#include <transport/fabric/fabric_provider.hpp>

#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <tuple>
#include <utility>

namespace sublet::transport::fabric {
namespace {

constexpr std::size_t kSequenceBytes = 4;

/// All that this code can cope with; a provider says which of these it asks for.
constexpr int kMrModes =
    FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
constexpr std::uint64_t kModes = FI_CONTEXT | FI_CONTEXT2 | FI_RX_CQ_DATA;

Info make_hints(const FabricLibrary& library, const std::string& name, std::uint64_t capabilities) {
  Info hints(library.dupinfo(nullptr));
  hints->caps = capabilities;
  hints->mode = kModes;
  hints->domain_attr->mr_mode = kMrModes;
  // One thread at a time uses a channel's domain: no locks.
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
  // Whoever waits for something also drives it: no thread of the provider's between.
  hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
  if (!name.empty()) hints->fabric_attr->prov_name = ::strdup(name.c_str());
  return hints;
}

Info get_info(const FabricLibrary& library, const fi_info& hints, const std::string& source) {
  fi_info* list = nullptr;
  // Where addresses are not IP addresses the source means nothing: then any.
  if (!source.empty() &&
      library.getinfo(FI_VERSION(1, 17), source.c_str(), "0", FI_SOURCE, &hints, &list) == 0) {
    return Info(list);
  }
  if (library.getinfo(FI_VERSION(1, 17), nullptr, nullptr, 0, &hints, &list) != 0) return nullptr;
  return Info(list);
}

EndpointKind kind_of(const fi_info& info) {
  return info.ep_attr->type == FI_EP_MSG ? EndpointKind::kConnected : EndpointKind::kConnectionless;
}

/// Smaller is better.
auto rank_of(const fi_info& info) {
  const bool layered = std::strchr(info.fabric_attr->prov_name, ';') != nullptr;
  return std::make_tuple(has_ip_addresses(info), layered,
                         kind_of(info) != EndpointKind::kConnected);
}

std::string describe_all() {
  const Info list = all_providers();
  std::string text;
  std::set<std::string> seen;
  for (const fi_info* info = list.get(); info != nullptr; info = info->next) {
    std::string name = info->fabric_attr->prov_name;
    const std::string missing = what_is_missing(*info);
    if (!missing.empty()) name += " (" + missing + ")";
    if (seen.insert(name).second) text += (text.empty() ? "" : ", ") + name;
  }
  return text.empty() ? "none" : text;
}

tl::unexpected<Error> no_provider(const std::string& name, const std::string& source) {
  return fail(ErrorKind::kUnsupported,
              (name.empty() ? std::string("no libfabric provider can be used")
                            : "the libfabric provider '" + name + "' cannot be used") +
                  (source.empty() ? std::string() : " at " + source) + "; there are: " +
                  describe_all() + ". SUBLET_FABRIC_PROVIDER chooses one of them");
}

Result<std::shared_ptr<const Provider>> make_provider(const fi_info& info) {
  auto provider = std::make_shared<Provider>();
  provider->name = info.fabric_attr->prov_name;
  provider->kind = kind_of(info);
  provider->info = copy_of(info);
  fid_fabric* fabric = nullptr;
  if (const int error = FabricLibrary::loaded().fabric(info.fabric_attr, &fabric, nullptr);
      error != 0) {
    return fail(ErrorKind::kUnsupported, "the libfabric provider '" + provider->name +
                                             "' cannot be opened: " + fabric_error(error));
  }
  provider->fabric.reset(fabric);
  base::log().debug("fabric: provider {} ({} endpoints, {} bytes injected, {} remote iovecs)",
                    provider->name,
                    provider->kind == EndpointKind::kConnected ? "connected" : "connectionless",
                    info.tx_attr->inject_size, info.tx_attr->rma_iov_limit);
  return std::shared_ptr<const Provider>(std::move(provider));
}

}  // namespace

Info copy_of(const fi_info& info) {
  return Info(FabricLibrary::loaded().dupinfo(&info));
}

std::string fabric_error(long code) {
  return FabricLibrary::loaded().strerror(static_cast<int>(code < 0 ? -code : code));
}

bool has_ip_addresses(const fi_info& info) {
  return info.addr_format == FI_SOCKADDR || info.addr_format == FI_SOCKADDR_IN ||
         info.addr_format == FI_SOCKADDR_IN6;
}

std::string wanted_provider() {
  const char* wanted = std::getenv("SUBLET_FABRIC_PROVIDER");
  return wanted == nullptr ? std::string() : std::string(wanted);
}

std::string what_is_missing(const fi_info& info) {
  if (info.ep_attr->type != FI_EP_MSG && info.ep_attr->type != FI_EP_RDM) {
    return "no reliable endpoints";
  }
  if ((info.caps & FI_RMA) == 0) return "no remote writes";
  if (info.domain_attr->cq_data_size < kSequenceBytes) {
    return "remote completions carry " + std::to_string(info.domain_attr->cq_data_size) +
           " bytes of data, " + std::to_string(kSequenceBytes) + " are needed";
  }
  // A loopback interface says so too, but it has IP addresses: good for tests.
  const bool local_only = (info.caps & FI_LOCAL_COMM) != 0 && (info.caps & FI_REMOTE_COMM) == 0;
  const bool named_by_process = info.addr_format == FI_ADDR_STR;  // no network's own format
  if (named_by_process || (local_only && !has_ip_addresses(info))) {
    return "it does not leave the node";
  }
  return {};
}

Info all_providers() {
  const auto library = FabricLibrary::load();
  if (!library) return nullptr;
  Info hints((*library)->dupinfo(nullptr));
  hints->mode = ~std::uint64_t{0};
  hints->domain_attr->mode = ~std::uint64_t{0};
  hints->domain_attr->mr_mode = ~3;  // all but FI_MR_BASIC and FI_MR_SCALABLE, which exclude others
  return get_info(**library, *hints, {});
}

Result<std::shared_ptr<const Provider>> find_provider(const std::string& name,
                                                      std::optional<EndpointKind> kind,
                                                      const std::string& source) {
  const std::string wanted = name.empty() ? wanted_provider() : name;
  using Key = std::tuple<std::string, int, std::string>;
  static std::mutex mutex;
  // Never destroyed: channels may be used until the process has gone.
  static auto& known = *new std::map<Key, std::shared_ptr<const Provider>>;
  const Key key{wanted, kind ? static_cast<int>(*kind) : 0, source};
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(key); found != known.end()) return found->second;

  const auto library = FabricLibrary::load();
  if (!library) return tl::unexpected<Error>(library.error());
  const Info hints = make_hints(**library, wanted, FI_RMA | FI_MSG);
  const Info list = get_info(**library, *hints, source);
  const fi_info* best = nullptr;
  for (const fi_info* info = list.get(); info != nullptr; info = info->next) {
    if (!what_is_missing(*info).empty() || (kind && kind_of(*info) != *kind)) continue;
    // "tcp" also finds what is layered over it: only when it was asked for by its whole name.
    if (!wanted.empty() && wanted != info->fabric_attr->prov_name) continue;
    if (best == nullptr || rank_of(*info) < rank_of(*best)) best = info;
  }
  if (best == nullptr) return no_provider(wanted, source);
  auto provider = make_provider(*best);
  if (provider) known.emplace(key, *provider);
  return provider;
}

}  // namespace sublet::transport::fabric
