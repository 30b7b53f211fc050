#include <wire/convert.hpp>
#include <wire/drain_report.hpp>

namespace sublet::wire {
namespace {

constexpr std::size_t kMaxNodeId = 510;

}  // namespace

void write(DrainTally::Builder to, const DrainCounts& counts) {
  to.setInOrder(counts.in_order);
  to.setCutOff(counts.cut_off);
  to.setUnclaimed(counts.unclaimed);
  to.setBroken(counts.broken);
  to.setCallsFinished(counts.calls_finished);
  to.setCallsCutOff(counts.calls_cut_off);
  to.setWorkersUnknown(counts.workers_unknown);
}

DrainCounts read(DrainTally::Reader from) {
  return {from.getInOrder(),       from.getCutOff(),      from.getUnclaimed(),     from.getBroken(),
          from.getCallsFinished(), from.getCallsCutOff(), from.getWorkersUnknown()};
}

void write(DrainedNode::Builder to, const DrainReport& report) {
  to.setNodeId(report.node_id);
  to.setEnd(report.end);
  if (report.counts) write(to.initTally(), *report.counts);
  to.setLeasesLost(report.leases_lost);
}

DrainReport read(DrainedNode::Reader from) {
  DrainReport report;
  report.node_id = cut_text(to_string(from.getNodeId()), kMaxNodeId);
  report.end = from.getEnd();
  if (from.hasTally()) report.counts = read(from.getTally());
  report.leases_lost = from.getLeasesLost();
  return report;
}

const char* to_string(DrainEnd end) noexcept {
  switch (end) {
    case DrainEnd::LEFT:
      return "left";
    case DrainEnd::LOST:
      return "lost";
    case DrainEnd::RETURNED:
      return "returned";
    case DrainEnd::CANCELLED:
      return "cancelled";
    case DrainEnd::DRAINING:
      return "draining";
  }
  return "unknown";
}

}  // namespace sublet::wire
