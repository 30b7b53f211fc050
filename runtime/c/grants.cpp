// Grants and lists, in <sublet/grants.h>.

#include <sublet/grants.h>

#include <c/error.hpp>
#include <c/handles.hpp>
#include <c/text_fields.hpp>

#include <algorithm>
#include <cstring>
#include <span>

/// Sorted by part.
struct sublet_grants {
  std::vector<sublet::Grant> grants;
};

namespace {

using namespace sublet::c;
using sublet::ErrorKind;
using sublet::Grant;
using sublet::Result;

// A part's grants as bytes: this number, then for each grant its size and its own bytes.
constexpr std::uint64_t kMagic = 0x7375626c65746731;
constexpr std::size_t kMostGrants = 4096;  // of one part: one for each node

std::span<const Grant> part_of(const sublet_grants& all, std::size_t part) {
  const auto is_of = [part](const Grant& grant) { return grant.part == part; };
  const auto first = std::find_if(all.grants.begin(), all.grants.end(), is_of);
  return {first, std::find_if_not(first, all.grants.end(), is_of)};
}

std::size_t count_parts(const sublet_grants& all) {
  std::size_t parts = 0;
  const Grant* last = nullptr;
  for (const Grant& grant : all.grants) {
    if (last == nullptr || last->part != grant.part) ++parts;
    last = &grant;
  }
  return parts;
}

void append(std::vector<std::byte>& to, std::uint64_t number) {
  const auto bytes = std::as_bytes(std::span(&number, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::vector<std::byte> to_bytes(std::span<const Grant> grants) {
  std::vector<std::byte> all;
  append(all, kMagic);
  for (const Grant& grant : grants) {
    const auto bytes = grant.to_bytes();
    append(all, bytes.size());
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

/// Takes the number that `rest` begins with.
bool take(std::span<const std::byte>& rest, std::uint64_t& number) {
  if (rest.size() < sizeof(number)) return false;
  std::memcpy(&number, rest.data(), sizeof(number));
  rest = rest.subspan(sizeof(number));
  return true;
}

Result<std::vector<Grant>> from_bytes(std::span<const std::byte> rest) {
  const auto bad = [](const std::string& why) {
    return sublet::fail(ErrorKind::kInvalid, "the bytes are no grants: " + why);
  };
  std::uint64_t number = 0;
  if (!take(rest, number) || number != kMagic) return bad("they begin otherwise");
  std::vector<Grant> grants;
  while (!rest.empty()) {
    if (!take(rest, number) || number > rest.size()) return bad("they end too early");
    if (grants.size() == kMostGrants) return bad("there are too many");
    auto grant = Grant::from_bytes(rest.first(static_cast<std::size_t>(number)));
    if (!grant) return tl::unexpected<sublet::Error>(std::move(grant.error()));
    if (!grants.empty() &&
        (grant->part != grants.front().part || grant->lease_id != grants.front().lease_id)) {
      return bad("they are of more than one part");
    }
    grants.push_back(std::move(*grant));
    rest = rest.subspan(static_cast<std::size_t>(number));
  }
  if (grants.empty()) return bad("there is none");
  return grants;
}

sublet_node_info to_c(const sublet::NodeInfo& node) {
  sublet_node_info info{};
  copy_text(node.name, info.name);
  copy_text(node.state, info.state);
  copy_text(node.cpuset, info.cpuset);
  info.cores = node.cores;
  info.free_cores = node.free_cores;
  info.gpus = static_cast<std::uint32_t>(node.gpus.size());
  info.free_gpus = node.free_gpus;
  info.widest_worker = node.widest_worker;
  info.memory_bytes = node.memory_bytes;
  info.free_memory_bytes = node.free_memory_bytes;
  info.heartbeat_age_ms = node.heartbeat_age.count();
  return info;
}

sublet_lease_info to_c(const sublet::LeaseInfo& lease) {
  sublet_lease_info info{};
  info.id = lease.id;
  copy_text(lease.state, info.state);
  copy_text(lease.owner, info.owner);
  copy_text(joined(lease.nodes), info.nodes);
  info.cores = lease.cores;
  info.gpus = lease.gpus;
  info.expires_unix_ms = lease.expires_unix_ms;
  info.usage = sublet::c::to_c(lease.usage);
  return info;
}

/// What `ask` gives, as far as it fits.
template <class Info, class Ask>
int list(sublet_session* session, Info* to, std::size_t capacity, std::size_t* count,
         const char* attempted, Ask&& ask) {
  if (session == nullptr) return null_handle("session");
  if (to == nullptr && capacity > 0) return null_pointer("list");
  if (count == nullptr) return null_pointer("count");
  if (capacity > kMostBytes / sizeof(Info)) return bad_size("capacity", capacity);
  return guarded(attempted, [&]() -> Result<void> {
    auto all = ask(session->session);
    if (!all) return tl::unexpected<sublet::Error>(std::move(all.error()));
    const std::size_t fitting = std::min(capacity, all->size());
    for (std::size_t i = 0; i < fitting; ++i) to[i] = to_c((*all)[i]);
    *count = all->size();
    return {};
  });
}

}  // namespace

int sublet_session_open_detached(const sublet_options* options, sublet_session** session) {
  if (session == nullptr) return null_pointer("session");
  return guarded("opening a session", [&]() -> Result<void> {
    auto complete = session_options(options);
    if (!complete) return tl::unexpected<sublet::Error>(std::move(complete.error()));
    auto opened = sublet::Session::open_detached(*complete);
    if (!opened) return tl::unexpected<sublet::Error>(std::move(opened.error()));
    *session = make_handle(std::move(*opened));
    return {};
  });
}

int sublet_session_holder(sublet_session* session, sublet_holder* holder) {
  if (session == nullptr) return null_handle("session");
  if (holder == nullptr) return null_pointer("holder");
  const sublet::HolderKey key = session->session.holder_key();
  static_assert(sizeof(key) == sizeof(holder->key));
  std::memcpy(holder->key, key.data(), key.size());
  return SUBLET_SUCCESS;
}

int sublet_session_request(sublet_session* session, int cores, int parts,
                           const sublet_holder* holders, const sublet_options* options,
                           sublet_grants** grants) {
  if (session == nullptr) return null_handle("session");
  if (grants == nullptr) return null_pointer("grants");
  if (cores <= 0) return bad_count("cores", cores);
  if (parts <= 0) return bad_count("parts", parts);
  return guarded("asking for grants", [&]() -> Result<void> {
    sublet::LeaseRequest request = lease_request(options);
    request.cores = static_cast<std::uint32_t>(cores);
    request.parts = static_cast<std::uint32_t>(parts);
    if (holders != nullptr) {
      request.holders.resize(request.parts);
      std::memcpy(request.holders.data(), holders, request.parts * sizeof(sublet_holder));
    }
    auto granted = session->session.request(request);
    if (!granted) return tl::unexpected<sublet::Error>(std::move(granted.error()));
    std::stable_sort(granted->begin(), granted->end(),
                     [](const Grant& a, const Grant& b) { return a.part < b.part; });
    *grants = new sublet_grants{std::move(*granted)};
    return {};
  });
}

int sublet_grants_parts(const sublet_grants* grants, size_t* parts) {
  if (grants == nullptr) return null_handle("grants");
  if (parts == nullptr) return null_pointer("parts");
  *parts = count_parts(*grants);
  return SUBLET_SUCCESS;
}

int sublet_grants_pack(const sublet_grants* grants, size_t part, void* bytes, size_t capacity,
                       size_t* size) {
  if (grants == nullptr) return null_handle("grants");
  if (bytes == nullptr && capacity > 0) return null_pointer("bytes");
  if (size == nullptr) return null_pointer("size");
  if (capacity > kMostBytes) return bad_size("capacity", capacity);
  const auto of_part = part_of(*grants, part);
  if (of_part.empty()) {
    return failed(SUBLET_ERR_COUNT, "there are no grants for part " + std::to_string(part) +
                                        ", but for " + std::to_string(count_parts(*grants)) +
                                        ", counted from 0");
  }
  return guarded("packing grants", [&]() -> Result<void> {
    const auto packed = to_bytes(of_part);
    if (packed.size() <= capacity) std::memcpy(bytes, packed.data(), packed.size());
    *size = packed.size();
    return {};
  });
}

int sublet_grants_unpack(const void* bytes, size_t size, sublet_grants** grants) {
  if (bytes == nullptr) return null_pointer("bytes");
  if (grants == nullptr) return null_pointer("grants");
  if (size > kMostBytes) return bad_size("size", size);
  return guarded("unpacking grants", [&]() -> Result<void> {
    auto unpacked = from_bytes({static_cast<const std::byte*>(bytes), size});
    if (!unpacked) return tl::unexpected<sublet::Error>(std::move(unpacked.error()));
    *grants = new sublet_grants{std::move(*unpacked)};
    return {};
  });
}

int sublet_grants_give_back(sublet_session* session, const sublet_grants* grants) {
  if (session == nullptr) return null_handle("session");
  if (grants == nullptr) return null_handle("grants");
  session->session.give_back(grants->grants);
  return SUBLET_SUCCESS;
}

int sublet_grants_free(sublet_grants** grants) {
  return free_handle(grants, "grants");
}

int sublet_lease_claim(sublet_session* session, const sublet_grants* grants,
                       const sublet_options* options, sublet_lease** lease) {
  if (session == nullptr) return null_handle("session");
  if (grants == nullptr) return null_handle("grants");
  if (lease == nullptr) return null_pointer("lease");
  if (const std::size_t parts = count_parts(*grants); parts != 1) {
    return failed(SUBLET_ERR_COUNT, "the grants are for " + std::to_string(parts) +
                                        " clients; each claims its own (sublet_grants_pack)");
  }
  return guarded("claiming grants", [&]() -> Result<void> {
    sublet::LeaseRequest request = lease_request(options);
    request.cores = 0;
    for (const Grant& grant : grants->grants) request.cores += grant.cores;
    auto claimed = session->session.claim(grants->grants, request);
    if (!claimed) return tl::unexpected<sublet::Error>(std::move(claimed.error()));
    *lease = make_handle(std::move(*claimed));
    return {};
  });
}

int sublet_session_nodes(sublet_session* session, sublet_node_info* nodes, size_t capacity,
                         size_t* count) {
  return list(session, nodes, capacity, count, "listing the nodes",
              [](sublet::Session& of) { return of.nodes(); });
}

int sublet_session_leases(sublet_session* session, sublet_lease_info* leases, size_t capacity,
                          size_t* count) {
  return list(session, leases, capacity, count, "listing the leases",
              [](sublet::Session& of) { return of.leases(); });
}
