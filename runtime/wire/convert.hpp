#pragma once

// Between the messages of the control plane and the types of the public API. What is read is
// hostile until checked here; kj exceptions of a malformed message pass through.

#include <sublet/lease.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <wire/control.capnp.h>
#include <wire/quota_info.hpp>

#include <optional>
#include <span>
#include <string>

namespace sublet::wire {

void write(Failure::Builder to, const Error& error);
Error read(Failure::Reader from);

/// What a call's results say: nothing when it succeeded.
template <class Results>
std::optional<Error> failure_of(const Results& results) {
  if (!results.hasFailure()) return std::nullopt;
  return read(results.getFailure());
}

void write(Grant::Builder to, const sublet::Grant& grant);
/// kInvalid when a field breaks a limit of limits.hpp.
Result<sublet::Grant> read(Grant::Reader from);

void write(Usage::Builder to, const sublet::Usage& usage);
sublet::Usage read(Usage::Reader from);

/// `client_node_id` is who asks, for placement near; `owner` is for people to read.
void write(LeaseRequest::Builder to, const sublet::LeaseRequest& request,
           const std::string& client_node_id, const std::string& owner,
           std::uint32_t slurm_job = 0);
/// kInvalid names the field and its limit.
Result<sublet::LeaseRequest> read(LeaseRequest::Reader from);

void write(capnp::List<Gpu>::Builder to, const std::vector<GpuInfo>& gpus);
/// kInvalid when there are too many, or one has no UUID.
Result<std::vector<GpuInfo>> read(capnp::List<Gpu>::Reader from);

void write(NodeStatus::Builder to, const NodeInfo& info);
NodeInfo read(NodeStatus::Reader from);

void write(LeaseStatus::Builder to, const LeaseInfo& info);
LeaseInfo read(LeaseStatus::Reader from);

void write(Quota::Builder to, const LeaseQuota& quota);
LeaseQuota read(Quota::Reader from);
void write(QuotaStatus::Builder to, const QuotaInfo& info);
QuotaInfo read(QuotaStatus::Reader from);

/// A text of somebody else, to be shown to people: printable (base/printable_text.hpp), and cut to
/// `limit` bytes, never within a character.
std::string cut_text(const std::string& text, std::size_t limit);

std::string to_string(capnp::Text::Reader text);
std::span<const std::byte> to_bytes(capnp::Data::Reader data);
capnp::Data::Reader to_data(std::span<const std::byte> bytes);

}  // namespace sublet::wire
