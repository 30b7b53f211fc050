#include <wire/convert.hpp>
#include <wire/ledger_page.hpp>
#include <wire/limits.hpp>

namespace sublet::wire {
namespace {

constexpr std::size_t kMaxName = 255;

}  // namespace

void write(LedgerQuery::Builder to, const LedgerFilter& filter) {
  to.setGrouping(filter.grouping);
  to.setUser(filter.user);
  to.setJob(filter.job);
  to.setLeaseId(filter.lease_id);
  to.setNode(filter.node);
  to.setSinceUnixMs(filter.since_unix_ms);
  to.setUntilUnixMs(filter.until_unix_ms);
  to.setAfter(filter.after);
}

Result<LedgerFilter> read(LedgerQuery::Reader from) {
  if (static_cast<int>(from.getGrouping()) > static_cast<int>(LedgerGrouping::NODES)) {
    return fail(ErrorKind::kInvalid,
                "the ledger's grouping is none of grants, users, jobs, leases and nodes");
  }
  LedgerFilter filter;
  filter.grouping = from.getGrouping();
  filter.user = cut_text(to_string(from.getUser()), kMaxName);
  filter.job = from.getJob();
  filter.lease_id = from.getLeaseId();
  filter.node = cut_text(to_string(from.getNode()), kMaxName);
  filter.since_unix_ms = from.getSinceUnixMs();
  filter.until_unix_ms = from.getUntilUnixMs();
  filter.after = from.getAfter();
  return filter;
}

void write(LedgerEntry::Builder to, const LedgerRow& row) {
  to.setUid(row.uid);
  to.setUser(row.user);
  to.setJob(row.job);
  to.setLeaseId(row.lease_id);
  to.setPart(row.part);
  to.setNode(row.node);
  to.setGrants(row.grants);
  to.setOpen(row.open);
  to.setUnsure(row.unsure);
  to.setCores(row.cores);
  to.setMemoryBytes(row.memory_bytes);
  to.setGpus(row.gpus);
  to.setBeginUnixMs(row.begin_unix_ms);
  to.setEndUnixMs(row.end_unix_ms);
  to.setEnd(row.end);
  to.setReason(row.reason);
  auto usage = to.initUsage();
  write(usage, row.usage);
  usage.setCoreMs(row.core_ms);
  usage.setGpuMs(row.gpu_ms);
  to.setMemoryByteSeconds(row.memory_byte_seconds);
  to.setCost(row.cost);
}

LedgerRow read(LedgerEntry::Reader from) {
  LedgerRow row;
  row.uid = from.getUid();
  row.user = cut_text(to_string(from.getUser()), kMaxName);
  row.job = from.getJob();
  row.lease_id = from.getLeaseId();
  row.part = from.getPart();
  row.node = cut_text(to_string(from.getNode()), kMaxName);
  row.grants = from.getGrants();
  row.open = from.getOpen();
  row.unsure = from.getUnsure();
  row.cores = from.getCores();
  row.memory_bytes = from.getMemoryBytes();
  row.gpus = from.getGpus();
  row.begin_unix_ms = from.getBeginUnixMs();
  row.end_unix_ms = from.getEndUnixMs();
  row.end = cut_text(to_string(from.getEnd()), kMaxName);
  row.reason = cut_text(to_string(from.getReason()), kMaxText);
  row.usage = read(from.getUsage());
  row.core_ms = from.getUsage().getCoreMs();
  row.gpu_ms = from.getUsage().getGpuMs();
  row.memory_byte_seconds = from.getMemoryByteSeconds();
  row.cost = from.getCost();
  return row;
}

const char* to_string(LedgerGrouping grouping) noexcept {
  switch (grouping) {
    case LedgerGrouping::GRANTS:
      return "grants";
    case LedgerGrouping::USERS:
      return "users";
    case LedgerGrouping::JOBS:
      return "jobs";
    case LedgerGrouping::LEASES:
      return "leases";
    case LedgerGrouping::NODES:
      return "nodes";
  }
  return "unknown";
}

}  // namespace sublet::wire
