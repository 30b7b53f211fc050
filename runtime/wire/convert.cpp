#include <base/printable_text.hpp>
#include <wire/convert.hpp>
#include <wire/gpu_uuid.hpp>
#include <wire/limits.hpp>
#include <wire/signed_grant.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace sublet::wire {
namespace {

constexpr std::size_t kMaxName = 255;
/// A message of refusal names nodes and sizes; longer than any other text.
constexpr std::size_t kMaxFailureText = 4 * kMaxText;

/// Bytes of the longest character.
constexpr std::size_t kMaxUtf8 = 4;

constexpr auto kMaxDurationMs =
    static_cast<std::uint64_t>(std::chrono::milliseconds(kMaxLeaseDuration).count());

tl::unexpected<Error> out_of_range(const char* what, std::uint64_t value, std::uint64_t least,
                                   std::uint64_t most) {
  return fail(ErrorKind::kInvalid, std::string(what) + " is " + std::to_string(value) +
                                       "; allowed are " + std::to_string(least) + " to " +
                                       std::to_string(most));
}

/// What is negative is refused where it is read, as what is huge.
std::uint64_t count_or_most(std::chrono::milliseconds time) {
  return time.count() < 0 ? std::numeric_limits<std::uint64_t>::max()
                          : static_cast<std::uint64_t>(time.count());
}

/// At most `most`.
Result<std::chrono::milliseconds> read_ms(const char* what, std::uint64_t ms,
                                          std::chrono::milliseconds most) {
  const auto count = static_cast<std::uint64_t>(most.count());
  if (ms > count) return out_of_range(what, ms, 0, count);
  return std::chrono::milliseconds(static_cast<std::int64_t>(ms));
}

Result<void> check_slots(std::uint32_t slots) {
  if (slots == 0 || slots > kMaxSlots || !std::has_single_bit(slots)) {
    return fail(ErrorKind::kInvalid, "slots is " + std::to_string(slots) +
                                         "; allowed are powers of two up to " +
                                         std::to_string(kMaxSlots));
  }
  return {};
}

/// `what` has so many workers; both factors are small enough for their product.
Result<void> check_cores(const char* what, std::uint32_t workers, std::uint32_t cores_per_worker) {
  if (cores_per_worker == 0 || cores_per_worker > kMaxCoresPerPart) {
    return out_of_range("the number of cores per worker", cores_per_worker, 1, kMaxCoresPerPart);
  }
  const std::uint64_t cores = std::uint64_t{workers} * cores_per_worker;
  if (cores <= kMaxCoresPerPart) return {};
  return fail(ErrorKind::kInvalid, std::string(what) + " of " + std::to_string(workers) +
                                       " workers of " + std::to_string(cores_per_worker) +
                                       " cores has " + std::to_string(cores) +
                                       " cores; allowed are " + std::to_string(kMaxCoresPerPart));
}

/// `workers` are a grant's, or 1 of a request.
Result<void> check_gpus(const char* what, std::uint32_t workers, std::uint32_t gpus_per_worker) {
  const std::uint64_t gpus = std::uint64_t{workers} * gpus_per_worker;
  if (gpus > kMaxGpus) return out_of_range(what, gpus, 0, kMaxGpus);
  return {};
}

/// Bytes of a grant that may be left out.
Result<void> read_fixed(capnp::Data::Reader from, std::size_t size, const char* what,
                        std::vector<std::byte>& to) {
  if (from.size() != 0 && from.size() != size) {
    return fail(ErrorKind::kInvalid, "a grant's " + std::string(what) + " has " +
                                         std::to_string(from.size()) +
                                         " bytes where it must have " + std::to_string(size));
  }
  const auto bytes = to_bytes(from);
  to.assign(bytes.begin(), bytes.end());
  return {};
}

}  // namespace

std::string cut_text(const std::string& text, std::size_t limit) {
  std::string shown = base::printable(std::string_view(text).substr(0, limit + kMaxUtf8));
  if (shown.size() <= limit) return shown;
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xC0) == 0x80) --end;
  shown.resize(end);
  return shown;
}

std::string to_string(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

std::span<const std::byte> to_bytes(capnp::Data::Reader data) {
  return std::as_bytes(std::span(data.begin(), data.size()));
}

capnp::Data::Reader to_data(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const capnp::byte*>(bytes.data()), bytes.size()};
}

void write(Failure::Builder to, const Error& error) {
  to.setKind(static_cast<std::uint8_t>(error.kind()));
  to.setText(cut_text(error.what(), kMaxFailureText));
}

Error read(Failure::Reader from) {
  return Error(error_kind_from(from.getKind()),
               cut_text(to_string(from.getText()), kMaxFailureText));
}

void write(Grant::Builder to, const sublet::Grant& grant) {
  to.setLeaseId(grant.lease_id);
  to.setPart(grant.part);
  to.setCores(grant.cores);
  to.setCoresPerWorker(grant.cores_per_worker);
  to.setGpusPerWorker(grant.gpus_per_worker);
  to.setNodeName(grant.node_name);
  to.setNodeId(grant.node_id);
  auto addresses = to.initAddresses(static_cast<unsigned>(grant.addresses.size()));
  for (unsigned i = 0; i < addresses.size(); ++i) addresses.set(i, grant.addresses[i]);
  to.setToken(to_data(grant.token));
  to.setSealed(to_data(grant.sealed));
  to.setExpiresUnixMs(grant.expires_unix_ms);
  to.setSlots(grant.slots);
  to.setArenaBytes(grant.arena_bytes);
}

Result<sublet::Grant> read(Grant::Reader from) {
  sublet::Grant grant;
  grant.lease_id = from.getLeaseId();
  grant.part = from.getPart();
  grant.cores = from.getCores();
  grant.cores_per_worker = from.getCoresPerWorker();
  grant.gpus_per_worker = from.getGpusPerWorker();
  grant.slots = from.getSlots();
  grant.arena_bytes = from.getArenaBytes();
  grant.node_name = to_string(from.getNodeName());
  grant.node_id = to_string(from.getNodeId());
  grant.expires_unix_ms = from.getExpiresUnixMs();
  if (grant.cores == 0 || grant.cores > kMaxWorkersPerExecutor) {
    return out_of_range("the number of workers in a grant", grant.cores, 1, kMaxWorkersPerExecutor);
  }
  if (auto ok = check_cores("a grant", grant.cores, grant.cores_per_worker); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  if (auto ok = check_gpus("the number of GPUs in a grant", grant.cores, grant.gpus_per_worker);
      !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  if (grant.part >= kMaxParts) {
    return out_of_range("the part of a grant", grant.part, 0, kMaxParts - 1);
  }
  if (auto ok = check_slots(grant.slots); !ok) return tl::unexpected<Error>(ok.error());
  if (grant.node_name.size() > kMaxName || grant.node_id.size() > 2 * kMaxName) {
    return fail(ErrorKind::kInvalid, "a grant's node has a name that is too long");
  }
  if (auto ok = read_fixed(from.getToken(), kTokenBytes, "token", grant.token); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  if (auto ok = read_fixed(from.getSealed(), kSealedGrantBytes, "seal", grant.sealed); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  if (from.getAddresses().size() > kMaxAddresses) {
    return out_of_range("the number of addresses in a grant", from.getAddresses().size(), 0,
                        kMaxAddresses);
  }
  for (const auto address : from.getAddresses()) grant.addresses.push_back(to_string(address));
  return grant;
}

void write(Usage::Builder to, const sublet::Usage& usage) {
  to.setInvocations(usage.invocations);
  to.setComputeNs(usage.compute_ns);
  to.setHotPollNs(usage.hot_poll_ns);
  to.setBytesIn(usage.bytes_in);
  to.setBytesOut(usage.bytes_out);
  const auto ms = [](double seconds) {
    constexpr double kMostMs = 1e18;
    return static_cast<std::uint64_t>(std::llround(std::clamp(seconds * 1000, 0.0, kMostMs)));
  };
  to.setCoreMs(ms(usage.core_seconds));
  to.setGpuMs(ms(usage.gpu_seconds));
}

sublet::Usage read(Usage::Reader from) {
  sublet::Usage usage;
  usage.invocations = from.getInvocations();
  usage.compute_ns = from.getComputeNs();
  usage.hot_poll_ns = from.getHotPollNs();
  usage.bytes_in = from.getBytesIn();
  usage.bytes_out = from.getBytesOut();
  usage.core_seconds = static_cast<double>(from.getCoreMs()) / 1000.0;
  usage.gpu_seconds = static_cast<double>(from.getGpuMs()) / 1000.0;
  return usage;
}

void write(LeaseRequest::Builder to, const sublet::LeaseRequest& request,
           const std::string& client_node_id, const std::string& owner, std::uint32_t slurm_job) {
  to.setCores(request.cores);
  to.setCoresPerWorker(request.cores_per_worker);
  to.setGpusPerWorker(request.gpus_per_worker);
  to.setParts(request.parts);
  to.setMemoryBytes(request.memory_bytes);
  // A negative or huge duration is refused where it is read.
  using Milliseconds = std::chrono::milliseconds;
  const auto most = std::chrono::floor<std::chrono::seconds>(Milliseconds::max());
  const auto duration = request.duration < most ? request.duration : most;
  to.setDurationMs(
      duration.count() < 0 ? 0 : static_cast<std::uint64_t>(Milliseconds(duration).count()));
  to.setPlacement(static_cast<Placement>(request.placement));
  to.setHotTimeoutMs(request.hot_timeout.count());
  to.setSlots(request.slots);
  to.setArenaBytes(request.arena_bytes);
  to.setClientNodeId(client_node_id);
  to.setOwner(cut_text(owner, kMaxName));
  to.setSlurmJob(slurm_job);
  to.setPriority(request.priority);
  to.setNoticeMs(count_or_most(request.notice));
  to.setWaitMs(count_or_most(request.wait));
  to.setHolders(to_data(std::as_bytes(std::span(request.holders))));
}

static_assert(static_cast<int>(Placement::PACK) == static_cast<int>(sublet::Placement::kPack));
static_assert(static_cast<int>(Placement::SPREAD) == static_cast<int>(sublet::Placement::kSpread));
static_assert(static_cast<int>(Placement::NEAR) == static_cast<int>(sublet::Placement::kNear));

Result<sublet::LeaseRequest> read(LeaseRequest::Reader from) {
  sublet::LeaseRequest request;
  request.cores = from.getCores();
  if (request.cores == 0 || request.cores > kMaxCoresPerPart) {
    return out_of_range("the number of cores per part", request.cores, 1, kMaxCoresPerPart);
  }
  request.cores_per_worker = from.getCoresPerWorker();
  if (auto ok = check_cores("a part", request.cores, request.cores_per_worker); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  request.gpus_per_worker = from.getGpusPerWorker();
  if (auto ok = check_gpus("the number of GPUs per worker", 1, request.gpus_per_worker); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  request.parts = from.getParts();
  if (request.parts == 0 || request.parts > kMaxParts) {
    return out_of_range("the number of parts", request.parts, 1, kMaxParts);
  }
  request.memory_bytes = from.getMemoryBytes();
  constexpr std::uint64_t kMaxMemory = std::numeric_limits<std::uint64_t>::max() / kMaxParts;
  if (request.memory_bytes > kMaxMemory) {
    return out_of_range("the memory per part", request.memory_bytes, 0, kMaxMemory);
  }
  const std::uint64_t duration_ms = from.getDurationMs();
  if (duration_ms == 0 || duration_ms > kMaxDurationMs) {
    return out_of_range("the duration in milliseconds", duration_ms, 1, kMaxDurationMs);
  }
  // Rounded up: the public type counts seconds, and a lease never ends before what was asked.
  request.duration =
      std::chrono::ceil<std::chrono::seconds>(std::chrono::milliseconds(duration_ms));
  if (static_cast<int>(from.getPlacement()) > static_cast<int>(Placement::NEAR)) {
    return fail(ErrorKind::kInvalid, "placement is none of pack, spread and near");
  }
  request.placement = static_cast<sublet::Placement>(from.getPlacement());
  if (from.getHotTimeoutMs() < -1) {
    return fail(ErrorKind::kInvalid, "hot_timeout is " + std::to_string(from.getHotTimeoutMs()) +
                                         " ms; allowed are -1 (always hot) and more");
  }
  request.hot_timeout = std::chrono::milliseconds(from.getHotTimeoutMs());
  request.slots = from.getSlots();
  if (auto ok = check_slots(request.slots); !ok) return tl::unexpected<Error>(ok.error());
  request.arena_bytes = from.getArenaBytes();
  request.priority = from.getPriority();
  if (std::abs(std::int64_t{request.priority}) > kMaxPriority) {
    return fail(ErrorKind::kInvalid, "priority is " + std::to_string(request.priority) +
                                         "; allowed are " + std::to_string(-kMaxPriority) + " to " +
                                         std::to_string(kMaxPriority));
  }
  const auto notice = read_ms("the notice period in milliseconds", from.getNoticeMs(), kMaxNotice);
  if (!notice) return tl::unexpected<Error>(notice.error());
  request.notice = *notice;
  const auto wait = read_ms("the wait in milliseconds", from.getWaitMs(), kMaxWait);
  if (!wait) return tl::unexpected<Error>(wait.error());
  request.wait = *wait;
  const auto holders = from.getHolders();
  if (holders.size() != request.parts * sizeof(HolderKey)) {
    return fail(ErrorKind::kInvalid, "the keys of those who may claim have " +
                                         std::to_string(holders.size()) + " bytes; for " +
                                         std::to_string(request.parts) + " parts they have " +
                                         std::to_string(request.parts * sizeof(HolderKey)));
  }
  request.holders.resize(request.parts);
  std::memcpy(request.holders.data(), holders.begin(), holders.size());
  return request;
}

namespace {

/// Of somebody else's: as large as can be calculated with.
std::chrono::milliseconds some_ms(std::uint64_t ms) {
  constexpr std::uint64_t kMostMs = std::uint64_t{1} << 52;
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::min(ms, kMostMs)));
}

constexpr std::uint64_t kNoQuota = std::numeric_limits<std::uint64_t>::max();

template <class List>
void write_texts(List to, const std::vector<std::string>& texts) {
  for (unsigned i = 0; i < to.size(); ++i) to.set(i, texts[i]);
}

}  // namespace

void write(capnp::List<Gpu>::Builder to, const std::vector<GpuInfo>& gpus) {
  for (unsigned i = 0; i < to.size(); ++i) {
    to[i].setUuid(gpus[i].uuid);
    to[i].setName(gpus[i].name);
    to[i].setMemoryBytes(gpus[i].memory_bytes);
  }
}

Result<std::vector<GpuInfo>> read(capnp::List<Gpu>::Reader from) {
  if (from.size() > kMaxGpus) {
    return out_of_range("the number of GPUs of a node", from.size(), 0, kMaxGpus);
  }
  std::vector<GpuInfo> gpus;
  for (const auto one : from) {
    GpuInfo gpu{to_string(one.getUuid()), cut_text(to_string(one.getName()), kMaxGpuName),
                one.getMemoryBytes()};
    if (!is_gpu_uuid(gpu.uuid)) {
      return fail(ErrorKind::kInvalid,
                  "'" + cut_text(gpu.uuid, kMaxGpuUuid) + "' is no UUID of a GPU; " + kGpuUuidForm);
    }
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

void write(NodeStatus::Builder to, const NodeInfo& info) {
  auto node = to.initNode();
  node.setName(info.name);
  node.setNodeId(info.node_id);
  node.setCores(info.cores);
  node.setMemoryBytes(info.memory_bytes);
  node.setCpuset(info.cpuset);
  node.setWidestWorker(info.widest_worker);
  write_texts(node.initAddresses(static_cast<unsigned>(info.addresses.size())), info.addresses);
  node.setClockAheadMs(info.clock_ahead.count());
  node.setClockErrorMs(static_cast<std::uint32_t>(info.clock_error.count()));
  to.setFreeCores(info.free_cores);
  to.setFreeMemoryBytes(info.free_memory_bytes);
  write(node.initGpus(static_cast<unsigned>(info.gpus.size())), info.gpus);
  to.setFreeGpus(info.free_gpus);
  to.setWarmExecutors(info.warm_executors);
  to.setState(info.state);
  to.setHeartbeatAgeMs(static_cast<std::uint64_t>(info.heartbeat_age.count()));
}

NodeInfo read(NodeStatus::Reader from) {
  NodeInfo info;
  const auto node = from.getNode();
  info.name = to_string(node.getName());
  info.node_id = to_string(node.getNodeId());
  info.cores = node.getCores();
  info.free_cores = from.getFreeCores();
  info.widest_worker = node.getWidestWorker();
  info.memory_bytes = node.getMemoryBytes();
  info.free_memory_bytes = from.getFreeMemoryBytes();
  if (auto gpus = read(node.getGpus())) info.gpus = std::move(*gpus);
  info.free_gpus = from.getFreeGpus();
  info.warm_executors = from.getWarmExecutors();
  info.cpuset = to_string(node.getCpuset());
  for (const auto address : node.getAddresses()) info.addresses.push_back(to_string(address));
  info.state = to_string(from.getState());
  info.clock_ahead = std::chrono::milliseconds(node.getClockAheadMs());
  info.clock_error = std::chrono::milliseconds(node.getClockErrorMs());
  info.heartbeat_age = some_ms(from.getHeartbeatAgeMs());
  return info;
}

void write(LeaseStatus::Builder to, const LeaseInfo& info) {
  to.setLeaseId(info.id);
  to.setState(info.state);
  to.setOwner(info.owner);
  to.setCores(info.cores);
  to.setGpus(info.gpus);
  write_texts(to.initNodes(static_cast<unsigned>(info.nodes.size())), info.nodes);
  to.setExpiresUnixMs(info.expires_unix_ms);
  write(to.initUsage(), info.usage);
  to.setOwnerUid(info.uid);
  to.setSlurmJob(info.slurm_job);
  to.setPriority(info.priority);
  to.setNoticeMs(count_or_most(info.notice));
  to.setReason(cut_text(info.reason, kMaxText));
  to.setWaitedMs(count_or_most(info.waited));
  to.setPlace(info.place);
}

LeaseInfo read(LeaseStatus::Reader from) {
  LeaseInfo info;
  info.id = from.getLeaseId();
  info.state = to_string(from.getState());
  info.owner = to_string(from.getOwner());
  info.cores = from.getCores();
  info.gpus = from.getGpus();
  for (const auto node : from.getNodes()) info.nodes.push_back(to_string(node));
  info.expires_unix_ms = from.getExpiresUnixMs();
  info.usage = read(from.getUsage());
  info.uid = from.getOwnerUid();
  info.slurm_job = from.getSlurmJob();
  info.priority = from.getPriority();
  info.notice = some_ms(from.getNoticeMs());
  info.reason = cut_text(to_string(from.getReason()), kMaxText);
  info.waited = some_ms(from.getWaitedMs());
  info.place = from.getPlace();
  return info;
}

void write(Quota::Builder to, const LeaseQuota& quota) {
  to.setCores(quota.cores.value_or(kNoQuota));
  to.setCoreSeconds(quota.core_seconds.value_or(kNoQuota));
}

LeaseQuota read(Quota::Reader from) {
  LeaseQuota quota;
  if (from.getCores() != kNoQuota) quota.cores = from.getCores();
  if (from.getCoreSeconds() != kNoQuota) quota.core_seconds = from.getCoreSeconds();
  return quota;
}

void write(QuotaStatus::Builder to, const QuotaInfo& info) {
  to.setEverybody(info.everybody);
  to.setUid(info.uid);
  to.setUser(cut_text(info.user, kMaxName));
  to.setOwn(info.own);
  write(to.initQuota(), info.quota);
  to.setHeldCores(info.held_cores);
  to.setUsedCoreSeconds(info.used_core_seconds);
  to.setPromisedCoreSeconds(info.promised_core_seconds);
  to.setWaiting(info.waiting);
  to.setShare(info.share);
}

QuotaInfo read(QuotaStatus::Reader from) {
  QuotaInfo info;
  info.everybody = from.getEverybody();
  info.uid = from.getUid();
  info.user = cut_text(to_string(from.getUser()), kMaxName);
  info.own = from.getOwn();
  info.quota = read(from.getQuota());
  info.held_cores = from.getHeldCores();
  info.used_core_seconds = from.getUsedCoreSeconds();
  info.promised_core_seconds = from.getPromisedCoreSeconds();
  info.waiting = from.getWaiting();
  info.share = from.getShare();
  return info;
}

}  // namespace sublet::wire
